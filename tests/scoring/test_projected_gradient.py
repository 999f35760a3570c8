"""The gradient that an adapter sees, against PEFT's at its first step and many draws of A; Aletheia's sum of norms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.layers import Unit
from layersig.models.adapters import inject_lora, remove_adapter
from layersig.models.adapters.wrappers import ADAPTER, wrapped_layers
from layersig.models.layermap import layer_parameter
from layersig.streams import Streams
from tests.scoring.moved import loss_of
from tests.scoring.world import World
from tests.tiny import tiny_batch

ROWS = tiny_batch(rows=4, length=12).tolist()
TARGETS_FROM = 5


def world_of(tmp_path, architecture):
    world = World(tmp_path, architecture)
    world.write_data(ROWS, TARGETS_FROM)
    return world


def gradients_of(world, rows=ROWS, targets_from=TARGETS_FROM):
    """Of every parameter, for the loss on some rows."""
    world.model.requires_grad_(True)
    world.model.zero_grad()
    (-loss_of(world.model, rows, targets_from)).backward()
    return {name: parameter.grad.clone() for name, parameter in world.model.named_parameters()}


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_it_is_the_mean_square_of_peft_s_first_gradient(tmp_path, architecture):
    world = world_of(tmp_path, architecture)
    found = world.ranking("projected-gradient", {"batches": 1})
    adapted = inject_lora(world.model, list(world.layers), rank=64, alpha=64, dropout=0.0, streams=Streams(0))
    wrapped = wrapped_layers(world.model)
    (-loss_of(world.model, ROWS, TARGETS_FROM)).backward()
    spread = np.ptp(list(found.scores.values()))
    for name, wrapper in wrapped.items():
        a, b = wrapper.lora_A[ADAPTER].weight, wrapper.lora_B[ADAPTER].weight
        assert a.grad is None or not a.grad.any()
        assert found.scores[name] == pytest.approx(b.grad.square().sum().item() / 64, rel=0.35, abs=0.02 * spread)
    remove_adapter(adapted)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_moe"])
@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
def test_the_mean_over_draws_has_a_closed_form(tmp_path, architecture, unit):
    world = world_of(tmp_path, architecture)
    due, drawn = {}, {}
    rng = np.random.default_rng(0)
    gradients = gradients_of(world)
    for layer in world.layers:
        gradient = gradients[layer.name if layer.is_parameter else f"{layer.name}.weight"].double().numpy()
        turned = not layer.is_parameter and architecture == "gpt2"
        gradient = (gradient.T if turned else gradient).reshape(-1, layer.shape[-1])
        bound = gradient.shape[1] ** -0.5
        rows = rng.uniform(-bound, bound, (1000, gradient.shape[1]))
        drawn[layer.name] = np.square(rows @ gradient.T).sum() / 1000
        due[layer.name] = np.square(gradient).sum() / 3 / gradient.shape[1]
    found = world.ranking("projected-gradient", {"batches": 1}, unit=unit)
    spread = np.ptp(list(found.scores.values()))
    for group in world.layers.groups(unit):
        names = [layer.name for layer in group.members]
        assert found.scores[group.name] == pytest.approx(sum(due[name] for name in names), abs=1e-5 * spread)
        assert found.scores[group.name] == pytest.approx(sum(drawn[name] for name in names), rel=0.2)


def test_draws_of_one_adapter_scatter_around_the_mean(tmp_path):
    world = world_of(tmp_path, "llama")
    mean = world.ranking("projected-gradient", {"batches": 1}).scores
    many = world.ranking("projected-gradient", {"batches": 1, "draws": 4000}).scores
    few = world.ranking("projected-gradient", {"batches": 1, "draws": 2}).scores
    for name, score in mean.items():
        assert many[name] == pytest.approx(score, rel=0.15)
    assert max(abs(few[name] / score - 1) for name, score in mean.items()) > 0.2


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_aletheia_s_score_is_the_sum_of_tensor_norms_of_single_examples(tmp_path, architecture):
    world = world_of(tmp_path, architecture)
    params = {"batches": 1, "reduce": "sum", "tensors": "all", "per_example": True, "prompts": True}
    found = world.ranking("gradient-norm", params, unit=Unit.BLOCK)
    due = dict.fromkeys(found.scores, 0.0)
    for row in ROWS:
        for name, gradient in gradients_of(world, [row], 1).items():
            for block in due:
                due[block] += gradient.norm().item() / len(ROWS) * name.startswith(f"{block}.")
    spread = np.ptp(list(due.values()))
    for block, score in found.scores.items():
        assert score == pytest.approx(due[block], abs=2e-5 * spread)
    # Its faults: a block gains by being cut into many tensors, and what the prompt says moves the score.
    together = world.ranking("gradient-norm", {**params, "reduce": "norm"}, unit=Unit.BLOCK)
    assert all(score > 1.5 * together.scores[block] for block, score in found.scores.items())
    answers = world.ranking("gradient-norm", {**params, "prompts": False}, unit=Unit.BLOCK)
    assert answers != found


def test_gradients_of_a_block_are_the_slope_along_any_direction(tmp_path):
    world = World(tmp_path, dtype="float64")
    world.write_data(ROWS, TARGETS_FROM)
    found = world.ranking("gradient-norm", {"batches": 1})
    layer = world.layers.by_name["model.layers.1.mlp.up_proj"]
    weight = layer_parameter(world.model, layer)
    generator = torch.Generator().manual_seed(0)
    slopes = []
    for _ in range(200):
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            weight.add_(1e-4 * sign * direction)
            ends.append(-float(loss_of(world.model, ROWS, TARGETS_FROM)))
            weight.add_(-1e-4 * sign * direction)
        slopes.append((ends[0] - ends[1]) / 2e-4)
    # The mean square of slopes along Gaussian directions is the squared norm.
    assert np.mean(np.square(slopes)) ** 0.5 == pytest.approx(found.scores[layer.name], rel=0.2)


def test_norms_and_biases_belong_to_blocks(tmp_path):
    with pytest.raises(UserError, match=r'set layers\.unit = "block"'):
        world_of(tmp_path, "llama").ranking("gradient-norm", {"tensors": "all"})
