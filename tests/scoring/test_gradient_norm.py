"""The gradient norm against autograd on the whole batch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from layersig.layers import Unit
from layersig.models.layermap import layer_parameter
from layersig.scoring.stage import score
from tests.scoring.heard import Heard
from tests.scoring.world import World
from tests.tiny import Double, tiny_batch


@pytest.mark.parametrize(
    ("architecture", "dtype"), [("llama", "float64"), ("gpt2", "float64"), ("qwen3_moe", "float32")]
)
@pytest.mark.parametrize("budget", [4096, 24])
def test_it_is_the_norm_of_the_whole_batch_gradient(tmp_path, architecture, dtype, budget):
    world = World(tmp_path, architecture, dtype=dtype)
    tokens = tiny_batch(rows=4, length=12)
    world.write_data(tokens.tolist(), targets_from=5)
    with Double() if dtype == "float64" else nullcontext():
        ranking = world.ranking("gradient-norm", {"batches": 1}, micro_batch_tokens=budget)
        parameters = {layer.name: layer_parameter(world.model, layer) for layer in world.layers}
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        logits = world.model(tokens).logits[:, 4:-1]
        cross_entropy(logits.flatten(0, 1), tokens[:, 5:].flatten()).backward()
    spread = np.ptp(list(ranking.scores.values()))
    for name, parameter in parameters.items():
        assert ranking.scores[name] == pytest.approx(parameter.grad.norm().item(), abs=1e-5 * spread)


def test_a_block_has_the_norm_of_its_layers_together(tmp_path):
    world = World(tmp_path, dtype="float64")
    world.write_data(tiny_batch(rows=4, length=12).tolist())
    modules = world.ranking("gradient-norm", {"batches": 1})
    blocks = world.ranking("gradient-norm", {"batches": 1}, unit=Unit.BLOCK)
    for group in world.layers.groups(Unit.BLOCK):
        together = sum(modules.scores[layer.name] ** 2 for layer in group.members) ** 0.5
        assert blocks.scores[group.name] == pytest.approx(together, rel=1e-9)


def test_it_leaves_the_model_as_it_was(tmp_path):
    world = World(tmp_path)
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    first, second = (world.ranking("gradient-norm", {"batches": 2}) for _ in range(2))
    assert first == second
    assert not any(parameter.requires_grad for parameter in world.model.parameters())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("unit", list(Unit))
def test_relative_to_the_weights(tmp_path, unit):
    world = World(tmp_path, "gpt2")
    world.write_data(tiny_batch(rows=4, length=12).tolist())
    plain = world.ranking("gradient-norm", {"batches": 1}, unit=unit)
    relative = world.ranking("gradient-norm", {"batches": 1, "relative": True}, unit=unit)
    for group in world.layers.groups(unit):
        size = sum(layer_parameter(world.model, layer).norm() ** 2 for layer in group.members) ** 0.5
        assert relative.scores[group.name] == pytest.approx(plain.scores[group.name] / size.item(), rel=1e-5)


def test_it_tells_of_every_batch(tmp_path):
    told = []

    class Told(Heard):
        def start(self, task, total, unit):
            told.append((task, total))

        def advance(self, amount, *, tokens=0, note=""):
            told.append((amount, tokens))

    world = World(tmp_path)
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    job = world.job("gradient-norm", {"batches": 2}, micro_batch_tokens=24)
    score(replace(job, reporter=Told()))
    assert told[0] == ("gradients", 2)
    assert [amount for amount, _ in told[1:]] == [1, 1]
    assert sum(tokens for _, tokens in told[1:]) == job.cost["tokens"]
