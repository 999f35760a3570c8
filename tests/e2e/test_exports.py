"""What is exported from a run loads elsewhere, with the logits that the run measured."""

from __future__ import annotations

import json
import shutil
import stat
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.models.load import load_tokenizer
from tests.e2e.world import Run, Told, World
from tests.tiny import tiny_batch

ARM = "ila-30"
CHAT = (
    "{% for each in messages %}{{ each['role'] }}: {{ each['content'] }}<unk>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""A chat template whose turns end with another token than the tokenizer's end of text."""


@pytest.fixture
def export(world: World, first: Run) -> Any:
    def call(*arguments: object) -> Told:
        return world.call("export", first.path, *arguments)

    return call


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(tiny_batch()).logits
    return found


def quietly(call: Any, *arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT reads a deprecated property of transformers
        return call(*arguments, **options)


@pytest.fixture
def due(told: Told, first: Run) -> torch.Tensor:
    """The logits of the arm, by plain PEFT on the model and the adapter in the run folder."""
    base = AutoModelForCausalLM.from_pretrained(told.base / "model")
    return logits(quietly(peft.PeftModel.from_pretrained, base, first.adapter(ARM)))


def test_an_exported_adapter_opens_by_itself(export: Any, due: torch.Tensor, tmp_path: Path) -> None:
    told = export(ARM, tmp_path / "adapter", "--to", "peft", "--json")
    assert told.code == 0, told.err
    assert told.json["layers"] == 6
    model = quietly(peft.AutoPeftModelForCausalLM.from_pretrained, tmp_path / "adapter")
    assert torch.equal(logits(model), due)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in (tmp_path / "adapter").iterdir())


def tuned(base: Any, config: Any, weights: Path) -> torch.Tensor:
    """The logits of a model that gets its adapter from a configuration, and its weights from a run."""
    model = quietly(peft.get_peft_model, base, config)
    report = peft.set_peft_model_state_dict(model, load_file(weights / "adapter_model.safetensors"))
    assert not report.unexpected_keys
    return logits(model)


def test_the_configuration_for_peft_makes_the_same_adapter(
    export: Any, told: Told, first: Run, due: torch.Tensor, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text(export(ARM, "--to", "peft").out)
    config = peft.LoraConfig.from_pretrained(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(told.base / "model")
    assert torch.equal(tuned(base, config, first.adapter(ARM)), due)


def test_the_configuration_for_trl_makes_the_same_adapter(
    export: Any, first: Run, due: torch.Tensor, tmp_path: Path
) -> None:
    trl = pytest.importorskip("trl")
    assert export(ARM, tmp_path / "trl.yaml", "--to", "trl").code == 0
    (asked,) = trl.TrlParser((trl.ModelConfig,)).parse_args_and_config(["--config", str(tmp_path / "trl.yaml")])
    base = AutoModelForCausalLM.from_pretrained(asked.model_name_or_path)
    assert torch.equal(tuned(base, trl.get_peft_config(asked), first.adapter(ARM)), due)


def test_others_can_read_the_weights_of_a_run(first: Run) -> None:
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in first.path.glob("adapters/**/*.safetensors")}
    assert found
    assert all(mode & 0o444 == 0o444 for mode in found.values())


def test_names_are_the_selection(export: Any, first: Run) -> None:
    assert export(ARM, "--to", "names").out.split() == first.layers(ARM)


def test_a_checkpoint_brings_the_chat_template_of_the_recipe(
    export: Any, world: World, told: Told, first: Run, tmp_path: Path
) -> None:
    assert "chat_template" not in export(ARM, tmp_path / "own").out
    other = tmp_path / "runs" / "tiny" / first.path.name
    shutil.copytree(first.path, other)
    resolved = (other / "resolved.toml").read_text()
    (other / "resolved.toml").write_text(resolved.replace('chat_template = "auto"', f'chat_template = "{CHAT}"'))
    found = world.call("export", other, ARM, tmp_path / "model")
    assert found.code == 0, found.err
    assert "chat_template.jinja is the template of the recipe" in found.out
    tokenizer, source = AutoTokenizer.from_pretrained(tmp_path / "model"), load_tokenizer(told.base / "model")
    chat = ChatFormat(source, CHAT)
    asked = [{"role": "user", "content": "how much is one and one"}]
    tokens = tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    assert tokens == chat.prompt([Message("user", asked[0]["content"])]).tolist()
    assert tokens != ChatFormat(source).prompt([Message("user", asked[0]["content"])]).tolist()
    ends = GenerationConfig.from_pretrained(tmp_path / "model").eos_token_id
    assert chat.turn_end == source.convert_tokens_to_ids("<unk>")
    assert chat.turn_end in ends
    assert source.eos_token_id in ends


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cast_says_what_it_loses(export: Any, told: Told, first: Run, tmp_path: Path, dtype: str) -> None:
    found = export(ARM, tmp_path / "model", "--dtype", dtype, "--json")
    assert found.code == 0, found.err
    base = load_file(told.base / "model" / "model.safetensors")
    merged = load_file(tmp_path / "model" / "model.safetensors")
    assert {str(value.dtype) for value in merged.values()} == {f"torch.{dtype}"}
    wanted = quietly(
        peft.PeftModel.from_pretrained,
        AutoModelForCausalLM.from_pretrained(told.base / "model"),
        first.adapter(ARM),
    ).merge_and_unload()
    lost = moved = 0.0
    for name in first.layers(ARM):
        exact = wanted.get_submodule(name).weight.detach().double()
        lost += float((merged[f"{name}.weight"].double() - exact).square().sum())
        moved += float((exact - base[f"{name}.weight"].double()).square().sum())
    assert found.json["cast_error"] == pytest.approx((lost / moved) ** 0.5, rel=1e-3, abs=1e-6)
    assert (found.json["cast_error"] > 0) is (dtype == "bfloat16")


def test_the_card_has_a_head_for_the_hub_and_no_path_of_this_machine(export: Any, told: Told, tmp_path: Path) -> None:
    assert export(ARM, tmp_path / "adapter", "--to", "peft").code == 0
    text = (tmp_path / "adapter" / "README.md").read_text()
    head = ModelCard(text).data
    assert (head.library_name, head.pipeline_tag, head.tags) == ("peft", "text-generation", ["layersig", "lora"])
    assert str(told.base) not in text
    for wanted in ("gain kept", "| model.layers.", "`file:chats.jsonl`: not stated", 'kind = "ila"'):
        assert wanted in text, wanted


@pytest.mark.parametrize(
    ("arguments", "due"),
    [
        ((ARM,), "name the new folder for the checkpoint, or a tool"),
        ((ARM, "--to", "peft", "--dtype", "bfloat16"), "--dtype is for checkpoints"),
        ((ARM, "--to", "torchtune"), "torchtune puts adapters on module types in every block"),
        (("lost", "--to", "names"), "has no model or adapter of an arm 'lost'"),
        ((ARM, "--to", "names", "--seed", 7), "ila-30 has no training that fits; choose one of: --data chats --seed 0"),
    ],
)
def test_what_cannot_be_exported_is_refused(export: Any, arguments: tuple[object, ...], due: str) -> None:
    told = export(*arguments)
    assert told.code == 2
    assert due in told.err


def test_an_arm_of_a_run_without_selections_is_refused_before_anything_is_written(
    world: World, first: Run, tmp_path: Path
) -> None:
    run, dest = tmp_path / "tiny" / first.path.name, tmp_path / "exported"
    shutil.copytree(first.path, run)
    (run / "selections.jsonl").unlink()
    for arguments in ((ARM, dest), (ARM, dest, "--to", "peft"), (ARM, "--to", "names")):
        told = world.call("export", run, *arguments)
        assert told.code == 2, told.out
        assert told.errors == [f"error: {run}: the run has not written its selections yet; run its recipe to the end"]
        assert not dest.exists()
    everything = world.call("export", run, "all-layers", "--to", "names")
    assert everything.out.split() == [
        layer["name"] for layer in json.loads((run / "layers.json").read_text())["layers"]
    ]
