"""Leave-one-out and add-one-in against models whose weights were moved for real."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.layers import Unit
from layersig.models.update_folder import read_update
from layersig.scoring.stage import score
from tests.scoring.heard import Heard
from tests.scoring.moved import loss_of, moved
from tests.scoring.world import World, low_rank
from tests.tiny import tiny_batch

ROWS = tiny_batch(rows=4, length=12).tolist()
TARGETS_FROM = 3


@pytest.mark.parametrize(
    ("architecture", "unit"),
    [*(("llama", unit) for unit in Unit), ("gpt2", Unit.MODULE), ("qwen2", Unit.MODULE)],
)
@pytest.mark.parametrize("scorer", ["leave-one-out", "add-one-in"])
def test_it_is_the_loss_of_models_with_moved_weights(tmp_path, architecture, unit, scorer):
    world = World(tmp_path, architecture, dtype="float64")
    generator = torch.Generator().manual_seed(5)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(ROWS, TARGETS_FROM)
    update = read_update(tmp_path / "update", world.layers)
    ranking = world.ranking(scorer, {"batches": 1}, unit=unit)

    def loss(names):
        model = moved(world.model, world.layers, update, dict.fromkeys(names, 1.0))
        return loss_of(model, ROWS, TARGETS_FROM).item()

    every, none = loss(update.layers), loss([])
    spread = np.ptp(list(ranking.scores.values()))
    for group in world.layers.groups(unit):
        members = {layer.name for layer in group.members}
        if scorer == "leave-one-out":
            expected = loss([name for name in update.layers if name not in members]) - every
        else:
            expected = none - loss(members)
        assert ranking.scores[group.name] == pytest.approx(expected, abs=1e-5 * spread), group.name


def test_every_batch_counts_and_the_cost_is_told(tmp_path):
    world = World(tmp_path)
    generator = torch.Generator().manual_seed(5)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(tiny_batch(rows=12, length=10).tolist())
    one, both = (world.ranking("leave-one-out", {"batches": count}, unit=Unit.BLOCK) for count in (1, 2))
    assert one.scores.keys() == both.scores.keys()
    assert all(one.scores[name] != both.scores[name] for name in one.scores)
    job = world.job("leave-one-out", {"batches": 2}, unit=Unit.BLOCK)
    score(job)
    blocks = len(world.layers.groups(Unit.BLOCK))
    assert job.cost["tokens"] == (blocks + 1) * 2 * 4 * 10


@pytest.mark.parametrize(("dtype", "warnings"), [("bfloat16", 1), ("float32", 0)])
def test_arithmetic_too_coarse_for_one_layer_is_told(tmp_path, dtype, warnings):
    world = World(tmp_path, dtype=dtype)
    generator = torch.Generator().manual_seed(5)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(ROWS, TARGETS_FROM)
    job = replace(world.job("add-one-in", {"batches": 1}, unit=Unit.BLOCK), reporter=Heard())
    score(job)
    assert len(job.reporter.warnings) == warnings
    assert all('model.dtype = "float32"' in warning for warning in job.reporter.warnings)


def test_batches_that_are_passed_over_hold_other_conversations(tmp_path):
    world = World(tmp_path)
    generator = torch.Generator().manual_seed(5)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(tiny_batch(rows=12, length=10).tolist())
    first, second, both = (
        world.ranking("leave-one-out", {"batches": count, "skip": skip}, unit=Unit.BLOCK).scores
        for count, skip in ((1, 0), (1, 1), (2, 0))
    )
    for name in both:
        assert both[name] == pytest.approx((first[name] + second[name]) / 2, abs=1e-6)
    with pytest.raises(UserError, match="skip = 2 and batches = 2 take 16 conversations; 12 are there"):
        world.ranking("leave-one-out", {"batches": 2, "skip": 2}, unit=Unit.BLOCK)
