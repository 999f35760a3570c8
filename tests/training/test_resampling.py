"""LISA: which blocks are in turn, that they alone move, and that a training goes on as if never interrupted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layersig.errors import UserError
from layersig.jsonform import dumps
from layersig.layers import Layer, Part, Unit
from layersig.models.layermap import layer_map_of_checkpoint
from layersig.models.update_folder import read_update
from layersig.recipe.schema import ResampleSettings, TrainSettings
from layersig.records import Ranking
from layersig.streams import Streams
from layersig.training import loop, stages
from layersig.training.callbacks import InTurn
from layersig.training.methods import component_of
from layersig.training.resampling import Resampling
from tests.selecting.test_policies import LAYERS
from tests.training.world import SETTINGS, TRAIN, adapted, digests, job, run, trained, values, write_inputs

LORA = component_of("lora", ())
TURNS = TRAIN.model_copy(update={"resample": ResampleSettings(blocks=1, every=2)})


def plan(blocks: int, every: int, steps: int, seed: int = 0) -> Resampling:
    return Resampling.plan(list(LAYERS), ResampleSettings(blocks=blocks, every=every), steps, Streams(0, seed))


def test_blocks_are_drawn_uniformly_without_replacement_and_by_seed() -> None:
    found = plan(3, 5, 2000)
    assert len(found.drawn) == 400
    assert all(len(set(interval)) == 3 for interval in found.drawn)
    counts = Counter(block for interval in found.drawn for block in interval)
    # Each of 12 blocks is drawn with probability 1/4: 100 of 400, standard deviation 8.7.
    assert all(60 < counts[block] < 140 for block in range(12))
    assert plan(3, 5, 2000) == found
    assert plan(3, 5, 2000, seed=1) != found
    # A longer training draws the same at first.
    assert plan(3, 5, 20).drawn == found.drawn[:4]


def inclusion(weights: Sequence[float], count: int) -> list[float]:
    """Probability of each to be among `count` drawn one after another in proportion to weight: every order, summed."""
    found = [0.0] * len(weights)
    for order in permutations(range(len(weights)), count):
        probability, left = 1.0, sum(weights)
        for place in order:
            probability, left = probability * weights[place] / left, left - weights[place]
        for place in order:
            found[place] += probability
    return found


def test_weighted_draws_have_the_probabilities_of_successive_sampling() -> None:
    weights, intervals = [4.0, 2.0, 1.0, 1.0, 0.5, 0.0], 4000
    chosen = [layer for layer in LAYERS if layer.block < 6]
    settings = ResampleSettings(blocks=2, every=1, weights="scores")
    found = Resampling.plan(chosen, settings, intervals, Streams(0, 0), weights=dict(enumerate(weights)))
    assert all(len(set(interval)) == 2 for interval in found.drawn)
    counts = Counter(block for interval in found.drawn for block in interval)
    expected = inclusion(weights, 2)
    for block, probability in enumerate(expected):
        deviation = (intervals * probability * (1 - probability)) ** 0.5
        assert abs(counts[block] - intervals * probability) <= 4 * deviation
    # Not in proportion to the weights, as without replacement it cannot be.
    assert abs(counts[0] - intervals * 2 * weights[0] / sum(weights)) > 5 * intervals**0.5
    assert counts[5] == 0
    assert all(layer.block != 5 for layer in found.layers)


@pytest.mark.parametrize(
    ("weights", "said"), [({0: 1.0, 1: -2.0}, "block 1 has -2"), ({0: 1.0, 1: 0.0}, "only 1 have")]
)
def test_weights_that_are_no_shares_are_refused(weights: dict[int, float], said: str) -> None:
    chosen = [layer for layer in LAYERS if layer.block < 2]
    settings = ResampleSettings(blocks=2, every=1, weights="scores")
    with pytest.raises(UserError, match=rf"draws 2 blocks in proportion to their scores, and {said}.*take a scorer"):
        Resampling.plan(chosen, settings, 4, Streams(0, 0), weights=weights)


def test_where_the_head_alone_is_chosen_no_block_is_drawn() -> None:
    head = Layer("lm_head", None, "lm_head", Part.HEAD, 64, (8, 8))
    settings = ResampleSettings(blocks=1, every=1, weights="scores")
    found = Resampling.plan([head], settings, 4, Streams(0, 0), weights={})
    assert (found.layers, found.drawn) == ((head,), ((),) * 4)


def test_an_arm_draws_by_the_scores_of_its_chosen_units(tmp_path: Path, inputs: Mapping[str, Path]) -> None:
    layers = layer_map_of_checkpoint(inputs["model"])
    # Of block 1 no layer has a score, and in block 0 only one that is not chosen has.
    scores = {
        name: float(name == "model.layers.0.self_attn.q_proj" or ".layers.2.mlp" in name) for name in layers.names
    }
    (tmp_path / "ranking").mkdir()
    (tmp_path / "ranking" / "ranking.json").write_text(dumps(Ranking(Unit.MODULE, scores).to_json()))
    train = TRAIN.model_copy(update={"resample": ResampleSettings(blocks=1, every=1, weights="scores")})
    done = job(tmp_path, {**inputs, "ranking": tmp_path / "ranking"}, train=train)
    stages.tune(done)
    assert {block for (block,) in json.loads((done.out / "log.json").read_text())["blocks_in_turn"]} == {2}


def test_only_layers_of_blocks_in_turn_move() -> None:
    found = plan(1, 2, 4)
    names = [f"base.{layer.name}.lora_A.default.weight" for layer in LAYERS]
    for step, (block,) in ((1, found.drawn[0]), (2, found.drawn[0]), (3, found.drawn[1])):
        assert found.in_turn(step, names) == {name for name in names if f".layers.{block}." in name}
    assert {layer.block for layer in found.layers} == {block for interval in found.drawn for block in interval}


def test_layers_whose_parameters_are_not_called_by_them_are_refused() -> None:
    found = plan(1, 2, 4)
    names = [f"base.{layer.name}.lora_A.default.weight" for layer in found.layers]
    found.check(names)
    with pytest.raises(UserError, match=rf"{found.layers[0].name} cannot take turns"):
        found.check([names[0].replace(found.layers[0].name, "experts"), *names[1:]])


def test_steps_at_rate_0_prolong_the_first_interval_so_that_every_drawn_block_moves(
    tmp_path: Path, inputs: Mapping[str, Path]
) -> None:
    once = TRAIN.model_copy(update={"resample": ResampleSettings(blocks=1, every=1), "warmup_ratio": 0.5})
    settings = TrainSettings.model_validate({**once.model_dump(), "epochs": None, "steps": 2})
    for seed in range(4):
        short = job(tmp_path, inputs, f"seed-{seed}", train=settings, seed=seed)
        stages.tune(short)
        ((block,),) = json.loads((short.out / "log.json").read_text())["blocks_in_turn"]
        layers = layer_map_of_checkpoint(inputs["model"])
        assert {layers.by_name[name].block for name in read_update(short.out / "adapter", layers).layers} == {block}


def test_all_blocks_in_turn_is_a_plain_training() -> None:
    one, two = adapted(dropout=0.2), adapted(dropout=0.2)
    run(one, SETTINGS)
    names: list[int] = []
    everything = list(trained(two))

    def in_turn(step: int) -> list[str]:
        names.append(step)
        return everything

    run(two, SETTINGS, callbacks=[InTurn(in_turn)])
    assert names == [1, 2, 3]
    for name, value in trained(one).items():
        assert torch.equal(value, trained(two)[name])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_what_is_out_of_turn_keeps_its_value_whatever_decays(architecture: str) -> None:
    model = adapted(architecture)
    parameters = trained(model)
    # Block 1 in the first and last step, block 0 in between: what AdamW does by itself to each.
    turns = {1: ".1.", 2: ".0.", 3: ".1."}
    seen: list[dict[str, Tensor]] = [values(parameters)]
    run(
        model,
        SETTINGS.model_copy(update={"weight_decay": 0.5, "schedule": "constant", "warmup_ratio": 0.0}),
        callbacks=[InTurn(lambda step: [name for name in parameters if turns[step] in name])],
        after_step=lambda step: seen.append(values(parameters)),
    )
    for step, block in turns.items():
        moved = {name for name, value in seen[step].items() if not torch.equal(value, seen[step - 1][name])}
        assert moved == {name for name in parameters if block in name}
    assert all(parameter.requires_grad for parameter in parameters.values())


@pytest.fixture
def inputs(tmp_path: Path) -> Mapping[str, Path]:
    layers = layer_map_of_checkpoint(_saved(tmp_path / "probe"))
    return write_inputs(tmp_path, chosen=[name for name in layers.names if name.endswith(("up_proj", "v_proj"))])


def _saved(folder: Path) -> Path:
    from tests.tiny import save_tiny

    folder.mkdir()
    return save_tiny(folder)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_arm_in_turns_trains_drawn_blocks_alone_and_resumes(
    tmp_path: Path, inputs: Mapping[str, Path], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainSettings.model_validate({**TURNS.model_dump(), "method": method, "epochs": None, "steps": 4})
    unbroken = job(tmp_path, inputs, "unbroken", train=settings)
    stages.tune(unbroken)
    drawn = json.loads((unbroken.out / "log.json").read_text())["blocks_in_turn"]
    assert [len(blocks) for blocks in drawn] == [1, 1]
    if method == "lora":
        layers = layer_map_of_checkpoint(inputs["model"])
        found = read_update(unbroken.out / "adapter", layers).layers
        ever = {block for blocks in drawn for block in blocks}
        assert {layers.by_name[name].block for name in found} == ever
        assert len(found) == 2 * len(ever)
    whole, calls = loop._clip, []

    def interrupt(parameters: Any, clip: float | None) -> float:
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(parameters, clip)

    monkeypatch.setattr(loop, "_clip", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stages.tune(job(tmp_path, inputs, "broken", train=settings))
    resumed = job(tmp_path, inputs, "broken", train=settings)
    stages.tune(resumed)
    assert digests(resumed.out) == digests(unbroken.out)


def test_the_key_counts_only_where_it_is_given() -> None:
    assert "resample" not in TRAIN.effective(LORA)
    assert TURNS.effective(LORA)["resample"] == {"blocks": 1, "every": 2}
