"""SNIP, Taylor and GMT against dense gradients of whole batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layersig.layers import Unit
from layersig.models.layermap import layer_parameter
from tests.scoring.moved import loss_of
from tests.scoring.world import World
from tests.tiny import tiny_batch

ROWS = tiny_batch(rows=4, length=12).tolist()
TARGETS_FROM = 3


@pytest.fixture(params=["llama", "gpt2", "qwen2"])
def world(packages, tmp_path, request):
    """A model with the gradient of the loss on all four rows."""
    world = World(tmp_path, request.param)
    world.write_data(ROWS, TARGETS_FROM)
    world.model.requires_grad_(True)
    loss_of(world.model, ROWS, TARGETS_FROM).backward()
    return world


@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_sensitivity_is_the_gradient_of_gates_on_single_weights(world, unit, reduce):
    weights = {layer.name: layer_parameter(world.model, layer) for layer in world.layers}
    # One gate a weight, c = 1: the derivative by c is what the paper calls sensitivity.
    gates = {f"{name}.weight": torch.ones_like(weight, requires_grad=True) for name, weight in weights.items()}
    gated = {name: gate * world.model.get_parameter(name).detach() for name, gate in gates.items()}
    tokens = torch.tensor(ROWS)
    logits = torch.func.functional_call(world.model, gated, (tokens,)).logits[:, TARGETS_FROM - 1 : -1]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, TARGETS_FROM:].flatten())
    slopes = torch.autograd.grad(loss, list(gates.values()))
    sensitivity = {name: slope.abs() for name, slope in zip(weights, slopes, strict=True)}
    whole = sum(value.sum() for value in sensitivity.values())
    ranking = world.ranking("snip", {"batches": 1, "reduce": reduce}, unit=unit)
    spread = np.ptp(list(ranking.scores.values()))
    for group in world.layers.groups(unit):
        values = torch.cat([sensitivity[layer.name].flatten() for layer in group.members]) / whole
        expected = values.sum() if reduce == "sum" else values.mean()
        assert ranking.scores[group.name] == pytest.approx(expected.item(), abs=1e-5 * spread), group.name


@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
def test_gradients_accumulate_within_a_window(world, unit):
    # Four batches of one row, in one window: the gradient on all rows, whose parts cancel before the absolute value.
    together = world.ranking("gmt", {"window": 4, "windows": 1}, unit=unit, batch_size=1)
    apart = world.ranking("gmt", {"window": 1, "windows": 4}, unit=unit, batch_size=1)
    spread = np.ptp(list(together.scores.values()))
    for group in world.layers.groups(unit):
        gradient = torch.cat([layer_parameter(world.model, layer).grad.flatten() for layer in group.members])
        assert together.scores[group.name] == pytest.approx(gradient.abs().mean().item(), abs=1e-5 * spread), group.name
        assert apart.scores[group.name] > together.scores[group.name]


@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
@pytest.mark.parametrize("removed", ["group", "single"])
def test_taylor_importance_is_the_squared_slope_of_taking_weights_away(world, unit, removed):
    ranking = world.ranking("taylor", {"batches": 1, "removed": removed}, unit=unit)
    spread = np.ptp(list(ranking.scores.values()))
    for group in world.layers.groups(unit):
        weights = [layer_parameter(world.model, layer) for layer in group.members]
        products = torch.cat([(weight.grad * weight).detach().double().flatten() for weight in weights])
        expected = products.sum() ** 2 if removed == "group" else (products**2).sum()
        assert ranking.scores[group.name] == pytest.approx(expected.item(), abs=1e-5 * spread), group.name


def test_taylor_importance_squares_before_it_averages(world):
    apart = world.ranking("taylor", {"batches": 4}, batch_size=1)
    slopes = {layer.name: [] for layer in world.layers}
    for row in ROWS:
        world.model.zero_grad()
        loss_of(world.model, [row], TARGETS_FROM).backward()
        for layer in world.layers:
            weight = layer_parameter(world.model, layer)
            slopes[layer.name].append((weight.grad * weight).sum().item())
    spread = np.ptp(list(apart.scores.values()))
    for name, found in slopes.items():
        expected = sum(slope**2 for slope in found) / len(found)
        assert apart.scores[name] == pytest.approx(expected, abs=1e-5 * spread), name
