"""LISA: which blocks are in turn, that they alone move, and that a training goes on as if never interrupted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layersig.models.layermap import layer_map_of_checkpoint
from layersig.models.stored import read_update
from layersig.recipe.schema import ResampleSettings, TrainSettings
from layersig.streams import Streams
from layersig.training import loop, stages
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


def test_only_layers_of_blocks_in_turn_move() -> None:
    found = plan(1, 2, 4)
    names = [f"base.{layer.name}.lora_A.default.weight" for layer in LAYERS]
    for step, (block,) in ((1, found.drawn[0]), (2, found.drawn[0]), (3, found.drawn[1])):
        assert found.in_turn(step, names) == {name for name in names if f".layers.{block}." in name}
    assert {layer.block for layer in found.layers} == {block for interval in found.drawn for block in interval}


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

    run(two, SETTINGS, in_turn=in_turn)
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
        in_turn=lambda step: [name for name in parameters if turns[step] in name],
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
