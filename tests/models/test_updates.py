from __future__ import annotations

import pytest
import torch

from layersig.models.layermap import layer_map
from layersig.models.updates import Delta, DenseUpdate
from tests.models.helpers import dense_update, low_rank_update
from tests.tiny import tiny_model


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe"])
def test_norms_are_those_of_the_full_product(architecture: str) -> None:
    layers = layer_map(tiny_model(architecture))
    for update in (low_rank_update(layers), dense_update(layers)):
        for layer in layers:
            dense = update.delta(layer.name).dense()
            assert dense.shape == layer.shape
            assert update.norm(layer.name) == pytest.approx(float(dense.double().norm()), rel=1e-6)


def test_the_norm_of_a_product_that_cancels_is_not_imaginary() -> None:
    b = torch.tensor([[1.0, -1.0]]) * 1e4
    a = torch.ones(2, 3)
    assert Delta(b, a).norm() == 0.0


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_oss"])
def test_the_difference_of_two_models_is_oriented_as_the_layers(architecture: str) -> None:
    before, after = tiny_model(architecture, seed=1), tiny_model(architecture, seed=2)
    layers = layer_map(before, head=True)
    update = DenseUpdate.difference(before, after, layers)
    assert update.layers == layers.names
    for layer in layers:
        name = layer.name if layer.is_parameter else f"{layer.name}.weight"
        raw = after.get_parameter(name) - before.get_parameter(name)
        stored_transposed = layer.name != "lm_head" and (architecture == "gpt2" or layer.is_parameter)
        assert torch.equal(update.delta(layer.name).dense(), raw.mT if stored_transposed else raw)
