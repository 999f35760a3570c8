"""The whitened gradient against dense algebra in NumPy, and against the least-squares optimum of a linear layer."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.layers import Unit
from layersig.models.layermap import layer_parameter, layer_weight
from layersig.scoring import whitened_gradient
from layersig.scoring.stage import score
from layersig.training.footprint import portions
from tests.scoring.moved import loss_of
from tests.scoring.world import World
from tests.tiny import tiny_batch

ROWS = tiny_batch(rows=4, length=12).tolist()
TARGETS_FROM = 5


def reference(world, ridge=1e-3):
    """Gradients by autograd on the whole batch, inputs by hooks, an explicit inverse."""
    seen = {}
    for layer in world.layers:

        def keep(_, given, __, name=layer.name):
            seen[name] = given[0].reshape(-1, given[0].shape[-1]).detach().double().numpy()

        world.model.get_submodule(layer.name).register_forward_hook(keep)
    world.model.requires_grad_(True)
    loss_of(world.model, ROWS, TARGETS_FROM).backward()
    found = {}
    for layer in world.layers:
        parameter = layer_parameter(world.model, layer)
        turned = layer_weight(world.model, layer) is not parameter
        gradient = (parameter.grad.mT if turned else parameter.grad).double().numpy()
        inputs = seen[layer.name]
        assert len(inputs) == 48
        covariance = inputs.T @ inputs / len(inputs)
        smoothed = covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        found[layer.name] = np.trace(gradient @ np.linalg.inv(smoothed) @ gradient.T)
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
def test_it_is_the_gradient_in_white_coordinates(tmp_path, architecture, unit, monkeypatch):
    monkeypatch.setattr(whitened_gradient, "portions", partial(portions, room=40_000))  # in several portions
    world = World(tmp_path, architecture)
    world.write_data(ROWS, TARGETS_FROM)
    job = world.job("whitened-gradient", {"batches": 1}, unit=unit)
    score(job)
    found = json.loads((job.out / "ranking.json").read_text())["scores"]
    due = reference(world)
    spread = np.ptp(list(found.values()))
    for group in world.layers.groups(unit):
        whole = sum(due[layer.name] for layer in group.members) ** 0.5
        assert found[group.name] == pytest.approx(whole, abs=1e-5 * spread)
    kept = [json.loads(line) for line in (job.out / "trajectory.jsonl").read_text().splitlines()]
    assert [line["layer"] for line in kept] == list(world.layers.names)
    assert min(line["condition"] for line in kept) > 1


def test_its_square_is_twice_what_least_squares_take_off_the_loss():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 6)) * [1, 2, 3, 0.1, 1, 5]
    residual = inputs @ rng.normal(size=(6, 4)) + rng.normal(size=(200, 4))
    # Loss |e|^2 / 2 a token, e = residual: the gradient of the weight is E[e h'].
    gradient = residual.T @ inputs / 200
    covariance = inputs.T @ inputs / 200
    values, vectors = whitened_gradient._eigen(torch.tensor(covariance))
    energy = float(((torch.tensor(gradient) @ vectors).square().sum(0) / values).sum())
    best, *_ = np.linalg.lstsq(inputs, residual, rcond=None)
    fall = (np.square(residual).sum() - np.square(residual - inputs @ best).sum()) / 2 / 200
    assert energy / 2 == pytest.approx(fall, rel=1e-10)
    # With white inputs it is the gradient norm.
    values, vectors = whitened_gradient._eigen(torch.eye(6, dtype=torch.float64))
    energy = float(((torch.tensor(gradient) @ vectors).square().sum(0) / values).sum())
    assert energy == pytest.approx(np.square(gradient).sum())


def test_experts_are_refused_by_name(tmp_path):
    world = World(tmp_path, "qwen3_moe")
    world.write_data(ROWS, TARGETS_FROM)
    with pytest.raises(UserError, match=r"whitened-gradient.*experts\.gate_up_proj"):
        world.ranking("whitened-gradient", {"batches": 1})
