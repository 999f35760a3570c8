"""Normalised feature norms against random inputs and activations gathered by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.layers import Unit
from layersig.models.layermap import layer_weight
from tests.scoring.world import World
from tests.tiny import tiny_batch

LENGTHS = (6, 9, 14)
ROWS = [tiny_batch(rows=1, length=length, seed=length)[0].tolist() for length in LENGTHS]


def norms_of(world):
    """NFN of every layer, token by token, in NumPy."""
    seen = {}
    for layer in world.layers:

        def keep(_, given, __, name=layer.name):
            seen.setdefault(name, []).append(given[0][0].double().numpy())

        world.model.get_submodule(layer.name).register_forward_hook(keep)
    for row in ROWS:
        world.model(torch.tensor([row]))
    found = {}
    for layer in world.layers:
        weight = layer_weight(world.model, layer).double().numpy()
        inputs = np.concatenate(seen[layer.name])
        assert len(inputs) == sum(LENGTHS)
        made = np.linalg.norm(inputs @ weight.T, axis=1) / np.linalg.norm(inputs, axis=1)
        found[layer.name] = made.mean() * np.sqrt(weight.shape[1]) / np.linalg.norm(weight)
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("budget", [1, 4096])
def test_it_is_the_norm_beside_that_of_random_inputs(packages, tmp_path, architecture, budget):
    world = World(tmp_path, architecture)
    world.write_data(ROWS)
    due = norms_of(world)
    spread = np.ptp(list(due.values()))
    found = world.ranking("feature-norm", {"examples": 3}, micro_batch_tokens=budget)  # one at a time, or padded
    for name, score in found.scores.items():
        assert score == pytest.approx(-due[name], abs=1e-5 * spread)
    if budget > 1:
        return
    for group in world.layers.groups(Unit.BLOCK):
        blocks = world.ranking("feature-norm", {"examples": 3}, unit=Unit.BLOCK)
        assert blocks.scores[group.name] == pytest.approx(-np.mean([due[each.name] for each in group.members]))


def test_the_head_is_a_layer_like_others(packages, tmp_path):
    import json

    from layersig.models.layermap import layer_map

    world = World(tmp_path, tied=False)
    world.write_data(ROWS)
    world.layers = layer_map(world.model, head=True)
    (tmp_path / "layers" / "layers.json").write_text(json.dumps(world.layers.to_json()))
    due = norms_of(world)
    assert world.ranking("feature-norm", {"examples": 3}).scores["lm_head"] == pytest.approx(-due["lm_head"], rel=1e-5)


def test_the_denominator_is_the_mean_square_over_random_inputs():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 24, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 3, 24)
    inputs = torch.randn(10_000, 24, generator=generator, dtype=torch.float64)
    inputs *= 5 / inputs.norm(dim=1, keepdim=True)
    measured = (inputs @ weight.mT).norm(dim=1).square().mean().sqrt()
    assert float(weight.norm() * 5 / 24**0.5) == pytest.approx(float(measured), rel=0.01)


def test_layers_that_answer_least_come_first_and_random_weights_score_alike(packages, tmp_path):
    world = World(tmp_path)
    world.write_data(tiny_batch(rows=8, length=20).tolist())
    seen = []
    planted = world.model.model.layers[1].mlp.down_proj
    handle = planted.register_forward_hook(lambda _, given, __: seen.append(given[0].reshape(-1, 48)))
    world.model(tiny_batch(rows=8, length=20))
    handle.remove()
    # Half of the weight's directions, those that its inputs use least, so that it answers them least.
    directions = torch.linalg.svd(torch.cat(seen), full_matrices=False).Vh[24:]
    planted.weight.data.copy_(planted.weight @ directions.mT @ directions)
    world.model.save_pretrained(tmp_path / "model")
    found = world.ranking("feature-norm", {"examples": 8})
    assert found.ordered()[0] == "model.layers.1.mlp.down_proj"
    others = [-score for name, score in found.scores.items() if name != found.ordered()[0]]
    assert np.ptp(others) < 0.35
    assert np.mean(others) == pytest.approx(1, abs=0.1)


def test_experts_are_refused_by_name(packages, tmp_path):
    (tmp_path / "experts").mkdir()
    world = World(tmp_path / "experts", "qwen3_moe")
    world.write_data(ROWS)
    with pytest.raises(UserError, match=r"feature-norm.*experts\.gate_up_proj"):
        world.ranking("feature-norm", {"examples": 1})


@pytest.mark.parametrize(
    ("zeroed", "says"),
    [
        # No input of the layer behind it is anything but zero.
        ("layers.0.mlp.up_proj", r"all inputs of model\.layers\.0\.mlp\.down_proj are zero"),
        # As blocks have that were put into a model to change nothing at first.
        ("layers.1.self_attn.o_proj", r"the weight of model\.layers\.1\.self_attn\.o_proj is zero"),
    ],
)
def test_a_layer_of_zeros_is_refused_by_name(packages, tmp_path, zeroed, says):
    world = World(tmp_path)
    world.write_data(ROWS)
    world.model.model.get_submodule(zeroed).weight.data.zero_()
    world.model.save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=says):
        world.ranking("feature-norm", {"examples": 1})
