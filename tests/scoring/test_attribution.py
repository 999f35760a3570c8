"""Attributions by gates against dense gradients of models whose weights were moved for real."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from layersig.layers import Unit
from layersig.models.adapters import inject_lora, remove_adapter, save_adapter
from layersig.models.layermap import layer_parameter, layer_weight
from layersig.models.update_folder import read_update
from layersig.scoring.stage import score
from layersig.streams import Streams
from tests.scoring.heard import Heard
from tests.scoring.moved import loss_of, moved
from tests.scoring.world import World, low_rank
from tests.tiny import tiny_batch

ROWS = tiny_batch(rows=4, length=12).tolist()
TARGETS_FROM = 4


def world_with_update(root, architecture="llama", *, dtype="float64", size=0.5):
    world = World(root, architecture, dtype=dtype)
    generator = torch.Generator().manual_seed(7)
    world.write_update({layer.name: low_rank(layer.shape, 2, size, generator) for layer in world.layers})
    world.write_data(ROWS, TARGETS_FROM)
    return world, read_update(root / "update", world.layers)


def slopes(world, update, share):
    """<grad_i L(theta_0 + share * Delta), Delta_i> by layer, from dense gradients."""
    model = moved(world.model, world.layers, update, dict.fromkeys(update.layers, share))
    model.requires_grad_(True)
    loss_of(model, ROWS, TARGETS_FROM).backward()
    found = {}
    for layer in world.layers:
        weight = layer_parameter(model, layer)
        delta = update.delta(layer.name).dense().to(weight.dtype)
        if layer_weight(model, layer) is not weight:
            delta = delta.mT
        found[layer.name] = (weight.grad * delta).sum().item()
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_the_first_order_gain_is_minus_the_inner_product_with_the_dense_gradient(tmp_path, architecture):
    world, update = world_with_update(tmp_path, architecture)
    ranking = world.ranking("update-taylor", {"batches": 1})
    spread = np.ptp(list(ranking.scores.values()))
    for name, slope in slopes(world, update, 0.0).items():
        assert ranking.scores[name] == pytest.approx(-slope, abs=1e-5 * spread), name


@pytest.mark.parametrize(
    ("architecture", "unit"), [*(("llama", unit) for unit in Unit), ("gpt2", Unit.MODULE), ("qwen2", Unit.MODULE)]
)
def test_shares_are_the_path_integral_of_dense_gradients(tmp_path, architecture, unit):
    world, update = world_with_update(tmp_path, architecture)
    # Simpson's rule on 32 intervals: another rule, with errors far below the tolerance.
    points = 33
    weights = torch.tensor([1.0, *[4.0, 2.0] * ((points - 3) // 2), 4.0, 1.0]) / (3 * (points - 1))
    integral = dict.fromkeys(update.layers, 0.0)
    for place, weight in enumerate(weights.tolist()):
        for name, slope in slopes(world, update, place / (points - 1)).items():
            integral[name] -= weight * slope
    ranking = world.ranking("path-attribution", {"batches": 1, "nodes": 8}, unit=unit)
    spread = np.ptp(list(ranking.scores.values()))
    for group in world.layers.groups(unit):
        expected = sum(integral[layer.name] for layer in group.members)
        assert ranking.scores[group.name] == pytest.approx(expected, abs=1e-5 * spread), group.name


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_shares_add_up_to_the_fall_of_the_loss(tmp_path, architecture):
    world, update = world_with_update(tmp_path, architecture, dtype="float32")
    job = replace(world.job("path-attribution", {"batches": 1, "nodes": 6}), reporter=Heard())
    score(job)
    before = loss_of(world.model, ROWS, TARGETS_FROM).item()
    whole = moved(world.model, world.layers, update, dict.fromkeys(update.layers, 1.0))
    after = loss_of(whole, ROWS, TARGETS_FROM).item()
    shares = json.loads((job.out / "ranking.json").read_text())["scores"].values()
    size = sum(map(abs, shares))
    assert sum(shares) == pytest.approx(before - after, abs=2e-3 * size)
    assert abs(before - after) > 0.05 * size, "the test must have something to add up to"
    row = json.loads((job.out / "trajectory.jsonl").read_text())
    assert row["loss_before"] == pytest.approx(before, rel=1e-5)
    assert row["loss_after"] == pytest.approx(after, rel=1e-5)
    assert row["gap"] == pytest.approx(before - after - sum(shares), abs=1e-4 * size)
    assert job.reporter.warnings == []


def test_no_task_is_told_to_be_more_than_done(tmp_path):
    left = []

    class Told(Heard):
        def start(self, task, total, unit):
            left.append(total)

        def advance(self, amount, *, tokens=0, note=""):
            left[-1] -= amount

    world, _ = world_with_update(tmp_path, dtype="float32")
    score(replace(world.job("path-attribution", {"batches": 1, "nodes": 3}), reporter=Told()))
    assert left == [0] * 3


def test_a_path_too_bent_for_the_nodes_is_told(tmp_path):
    world, _ = world_with_update(tmp_path, dtype="float32", size=4.0)
    job = replace(world.job("path-attribution", {"batches": 1, "nodes": 1, "tolerance": 0.01}), reporter=Heard())
    score(job)
    (warning,) = job.reporter.warnings
    assert "raise `nodes`" in warning
    row = json.loads((job.out / "trajectory.jsonl").read_text())
    assert abs(row["gap"]) > 0.01 * row["size"]


def test_on_a_mixture_of_experts_the_slopes_reach_fused_experts(tmp_path):
    world, update = world_with_update_of_experts(tmp_path)
    ranking = world.ranking("update-taylor", {"batches": 1})
    for name, slope in slopes(world, update, 0.0).items():
        assert ranking.scores[name] == pytest.approx(-slope, rel=1e-3, abs=1e-5), name


def world_with_update_of_experts(root):
    world = World(root, "qwen3_moe")
    world.write_data(ROWS, TARGETS_FROM)
    adapted = inject_lora(world.model, list(world.layers), rank=2, alpha=2, dropout=0.0, streams=Streams(0))
    generator = torch.Generator().manual_seed(7)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05, generator=generator)
    save_adapter(adapted, root / "update", base_model="tiny", revision=None)
    remove_adapter(adapted)
    return world, read_update(root / "update", world.layers)
