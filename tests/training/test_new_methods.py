"""The tuning methods against the rules that plugins must keep, and against PEFT."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from layersig.fast.lora import fast_lora
from layersig.fast.runner import Workload
from layersig.models.adapters.live import live_delta
from layersig.models.adapters.wrappers import expected_warnings, wrapped_layers
from layersig.models.layermap import layer_map
from layersig.recipe.schema import TrainSettings
from layersig.streams import Streams
from layersig.testing import check_method
from layersig.training.loop import train
from layersig.training.methods import Base, component_of, tuned
from layersig.training.optimization import Optimization
from tests.tiny import tiny_batch, tiny_model
from tests.training.world import BATCHES, SETTINGS, STREAMS, examples

CASES = {
    "lora": ({}, {}),
    "rslora": ({}, {}),
    "dora": ({}, {}),
    "pissa": ({"iterations": 2}, {}),
    "eva": ({"rho": 1.0}, {}),
    "gora": ({"least": 1.0, "most": 1.0, "batches": 2}, {}),
    "adalora": ({"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1}, {"learning_rate": 0.05}),
    "full": ({}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_keeps_the_rules(name):
    params, settings = CASES[name]
    check_method(component_of(name, ()), params, settings=settings)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_pissa_starts_as_pefts_does_and_leaves_the_weights_alone(architecture):
    model, twin = tiny_model(architecture), tiny_model(architecture)
    layers = [layer_map(model)[1], layer_map(model)[4]]
    plain = tiny_model(architecture)(tiny_batch()).logits
    config = LoraConfig(r=3, lora_alpha=6, init_lora_weights="pissa", target_modules=[layer.name for layer in layers])
    with expected_warnings():
        get_peft_model(twin, config)
    settings = TrainSettings(method="pissa", rank=3, alpha=6.0, dropout=0.0)
    with tuned(model, layers, settings, base=Base("b"), steps=3, streams=Streams(0)) as tuning:
        torch.testing.assert_close(model(tiny_batch()).logits, plain, rtol=1e-4, atol=1e-5)
        for layer in layers:
            ours, theirs = (found.get_submodule(layer.name) for found in (model, twin))
            torch.testing.assert_close(
                ours.get_delta_weight("default"), theirs.get_delta_weight("default"), rtol=1e-4, atol=1e-5
            )
        assert all(value.requires_grad for value in tuning.parameters.values())
        # A move of B alone: the same change as PEFT's makes of its residual weight.
        for layer in layers:
            for found in (model, twin):
                wrapper = found.get_submodule(layer.name)
                wrapper.lora_B["default"].weight.data.mul_(1.5)
        torch.testing.assert_close(model(tiny_batch()).logits, twin(tiny_batch()).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "fast"), [("lora", 2), ("rslora", 2), ("dora", 0), ("pissa", 2)])
def test_the_fast_path_computes_what_peft_does_or_is_not_taken(name, fast):
    model = tiny_model("llama")
    layers = [layer_map(model)[1], layer_map(model)[4]]
    settings = TrainSettings(method=name, rank=3, alpha=6.0, dropout=0.0)
    with tuned(model, layers, settings, base=Base("b"), steps=3, streams=Streams(0)) as tuning:
        for value in tuning.parameters.values():
            value.data += 0.05
        expected = model(tiny_batch()).logits
        with fast_lora(model) as count:
            assert count == fast
            torch.testing.assert_close(model(tiny_batch()).logits, expected, rtol=1e-4, atol=1e-5)


def _steps(method, dropout, *, fast):
    model = tiny_model("llama")
    settings = SETTINGS.model_copy(update={"method": method, "dropout": dropout, "warmup_ratio": 0.0})
    with tuned(model, list(layer_map(model)), settings, base=Base("b"), steps=2, streams=STREAMS) as tuning:
        work = Workload(tuning.model, tuning.parameters, examples(), BATCHES[:2], settings, STREAMS, fast=fast)
        return train(work, Optimization.of(settings)).steps


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("method", ["lora", "dora"])
def test_dropout_is_applied(method, fast):
    without, half = (_steps(method, dropout, fast=fast) for dropout in (0.0, 0.5))
    # Before anything moved the model is the pretrained one, whatever is dropped on the way to factors that are zero.
    assert half[0].loss == pytest.approx(without[0].loss, rel=1e-6)
    assert abs(half[0].gradient_norm / without[0].gradient_norm - 1) > 0.05
    assert half[1].loss != pytest.approx(without[1].loss, rel=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_dora_starts_at_the_weights_exactly_even_in_bfloat16(architecture):
    model = tiny_model(architecture, dtype=torch.bfloat16)
    layers = list(layer_map(model))
    settings = TrainSettings(method="dora", rank=3, dropout=0.0)
    with tuned(model, layers, settings, base=Base("b"), steps=3, streams=Streams(0)):
        wrappers = wrapped_layers(model)
        assert len(wrappers) == len(layers)
        assert {live_delta(wrapper).norm() for wrapper in wrappers.values()} == {0.0}
