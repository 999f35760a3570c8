"""Outlier shares against activations gathered by hand."""

from __future__ import annotations

import pytest
import torch

from layersig.errors import UserError
from layersig.layers import Unit
from layersig.models.layermap import layer_weight
from tests.scoring.world import World
from tests.tiny import Double, tiny_batch


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
def test_it_counts_products_far_above_their_mean(packages, tmp_path, architecture, unit):
    with Double():  # no product lies on the threshold up to rounding
        _compare_by_hand(World(tmp_path, architecture, dtype="float64"), unit)


def _compare_by_hand(world, unit):
    rows = [tiny_batch(rows=1, length=length, seed=length)[0].tolist() for length in (6, 9, 14)]
    world.write_data(rows)
    inputs = {layer.name: [] for layer in world.layers}
    for name, seen in inputs.items():
        module = world.model.get_submodule(name)
        module.register_forward_hook(lambda _, given, __, seen=seen: seen.append(given[0][0]))
    for row in rows:
        world.model(torch.tensor([row]))
    metrics = {}
    for layer in world.layers:
        tokens = torch.cat(inputs[layer.name])
        assert len(tokens) == 6 + 9 + 14
        norms = [tokens[:, feature].norm() for feature in range(tokens.shape[1])]
        metrics[layer.name] = layer_weight(world.model, layer).abs() @ torch.diag(torch.stack(norms))
    ranking = world.ranking("owl", {"examples": 3, "threshold": 2.5}, unit=unit)
    assert len(set(ranking.scores.values())) > 1
    for group in world.layers.groups(unit):
        values = torch.cat([metrics[layer.name].flatten() for layer in group.members])
        expected = 100 * (values > 2.5 * values.mean()).double().mean().item()
        assert ranking.scores[group.name] == pytest.approx(expected, abs=1e-9), group.name


def test_fused_experts_are_refused_by_name(packages, tmp_path):
    world = World(tmp_path, "qwen3_moe")
    world.write_data(tiny_batch(rows=4, length=8).tolist())
    with pytest.raises(UserError, match=r"owl.*experts\.gate_up_proj"):
        world.ranking("owl", {"examples": 1})
