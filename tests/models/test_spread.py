"""A model that lies partly in main memory and partly in its files gives what one in one place gives, bit for bit.

Here that is main memory and disk; on a GPU it would be several GPUs, main memory and disk.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.errors import UserError
from layersig.evaluating.heldout import heldout_losses
from layersig.generating.chats import Chat, answer_chats
from layersig.generating.sampling import Sampling
from layersig.models import spread
from layersig.models.load import borrow_model, load_model
from layersig.streams import Streams
from tests.e2e.world import World
from tests.study import RECIPE, WRITTEN, write_study
from tests.tiny import save_tiny, tiny_tokenizer
from tests.training.world import examples

OPTIONS = {"dtype": "float32", "device": "cpu"}
EVALUATION = (
    RECIPE[: RECIPE.index("[train]")]
    + """\
[[arms]]
name = "other"
checkpoint = "path:other"

[evaluate]
tasks = ["file:choice.yaml", "file:written.yaml"]
all_layers = false

[analyze]
baseline = "base"
controls = false
resamples = 100
"""
)


@pytest.fixture(params=["llama", "gpt2", "gemma2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model on disk."""
    save_tiny(tmp_path / "model", request.param, tied=True)
    return tmp_path / "model"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Main memory holds a third of what a tiny model takes."""
    monkeypatch.setattr(spread, "room", lambda device: {"cpu": 80_000})


@pytest.mark.usefixtures("little_memory")
def test_losses_and_answers_are_those_of_the_model_in_one_place(folder: Path) -> None:
    chats = [Chat(str(number), (Message("user", f"say {number}" * (number + 1)),)) for number in range(5)]

    def found(model) -> tuple[object, object]:
        losses = heldout_losses(model, examples(6), "x", 64)
        answers = answer_chats(
            model,
            ChatFormat(tiny_tokenizer(), "auto"),
            chats,
            Streams(0),
            max_new_tokens=8,
            sampling=Sampling(1.0),
            batch_tokens=256,
        )
        return losses, answers

    whole, parted = load_model(folder, **OPTIONS), load_model(folder, **OPTIONS, device_map="auto")
    assert not spread.is_spread(whole)
    assert spread.is_spread(parted)
    assert {parameter.device.type for parameter in parted.parameters()} == {"cpu", "meta"}
    assert found(parted) == found(whole)
    for name, value in spread.values(parted):
        assert torch.equal(value, whole.get_parameter(name)), name


@pytest.mark.usefixtures("little_memory")
def test_a_spread_model_is_lent_again_and_comes_back_as_it_was(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model")
    with borrow_model(tmp_path / "model", **OPTIONS, device_map="auto") as first:
        pass
    with borrow_model(tmp_path / "model", **OPTIONS, device_map="auto") as second:
        assert second is first
        assert spread.is_spread(second)
    with borrow_model(tmp_path / "model", **OPTIONS) as whole:
        assert not spread.is_spread(whole)


@pytest.mark.usefixtures("little_memory")
def test_values_that_are_not_finite_are_found_wherever_they_lie(tmp_path: Path) -> None:
    model = load_model(save_tiny(tmp_path / "model"), **OPTIONS)
    last = model.model.norm.weight
    last.data[0] = torch.nan
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=r"not finite.*model\.norm\.weight"):
        load_model(tmp_path / "model", **OPTIONS, device_map="auto")


@pytest.mark.slow
def test_an_evaluation_of_a_spread_model_is_the_same_stage_with_the_same_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, write_study(tmp_path, recipe=EVALUATION))
    (tmp_path / "written.yaml").write_text(WRITTEN)
    save_tiny(tmp_path / "other", seed=1)
    whole = world.run("--runs", tmp_path / "whole", cache=tmp_path / "cache-whole").run
    told = world.run("model.device_map=auto")
    assert told.code == 2
    assert "model.device_map spreads a model over GPUs, and this process computes on cpu" in told.err
    monkeypatch.setattr(spread, "room", lambda device: {"cpu": 80_000})
    parted = world.run("model.device_map=auto", cache=tmp_path / "cache-parted").run
    evaluated = {name for name in whole.stages if name.startswith("evaluate/")}
    assert evaluated == {"evaluate/base", "evaluate/other"}
    for name in evaluated:
        assert parted.stages[name]["fingerprint"] == whole.stages[name]["fingerprint"]
    written = [path.relative_to(whole.path) for path in (whole.path / "evaluations").rglob("*") if path.is_file()]
    assert {"items.jsonl", "responses.jsonl", "results.json"} <= {path.name for path in written}
    for path in written:
        assert (parted.path / path).read_bytes() == (whole.path / path).read_bytes(), path
    assert any("of the weights; the others are fetched" in each for each in parted.stages["evaluate/base"]["warnings"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), r"but reference/chats/seed-0 trains it or reads its layers.*torchrun .*--shard"),
        (("model.device=cuda:0",), r"but model.device names one"),
    ],
)
def test_what_needs_the_model_in_one_place_is_refused(tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    world = World(tmp_path, write_study(tmp_path))
    told = world.run("model.device_map=auto", *overrides)
    assert told.code == 2
    (error,) = told.errors
    assert re.search(message, error), error


def test_validation_refuses_it_as_a_run_does(tmp_path: Path) -> None:
    recipe = RECIPE.replace('dtype = "float32"', 'dtype = "float32"\ndevice_map = "auto"')
    world = World(tmp_path, write_study(tmp_path, recipe=recipe))
    told = world.call("validate", world.recipe)
    assert told.code == 2
    assert "recipe.toml:7: model.device_map spreads the model over all GPUs" in told.err


def test_gpus_are_filled_before_main_memory_and_must_be_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["A100", "A100"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda card: (1000 * (card + 1), 10_000))
    found = spread.room(torch.device("cuda", 0))
    assert list(found) == [0, 1, "cpu"]
    assert (found[0], found[1]) == (800, 1600), "a fifth is left for what passes through the model"
    names[1] = "H100"
    with pytest.raises(UserError, match=r"different kinds \(A100, H100\)"):
        spread.room(torch.device("cuda", 0))
