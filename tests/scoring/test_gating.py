from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.errors import UserError
from layersig.models.adapters import read_adapter
from layersig.models.layermap import layer_map, layer_weight
from layersig.models.updates import Delta, LowRankUpdate, Update
from layersig.scoring.gating import gated
from tests.models.helpers import adapter_folder, assert_same_state, dense_update, low_rank_update, state, structure
from tests.tiny import ARCHITECTURES, MIXTURES, Double, tiny_batch, tiny_model

EVERY = sorted({*ARCHITECTURES, *MIXTURES})


def _loss(model: PreTrainedModel) -> Tensor:
    tokens = tiny_batch()
    return F.cross_entropy(model(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def _update(model: PreTrainedModel, kind: str) -> Update:
    layers = layer_map(model, head=True)
    return dense_update(layers) if kind == "dense" else low_rank_update(layers)


def _tensors(update: Update) -> list[Tensor]:
    deltas = [update.delta(name) for name in update.layers]
    return [tensor.clone() for delta in deltas for tensor in (delta.a, delta.b) if tensor is not None]


@pytest.mark.parametrize("kind", ["low-rank", "dense"])
@pytest.mark.parametrize("architecture", EVERY)
def test_the_gradient_of_every_gate_is_its_finite_difference(architecture: str, kind: str) -> None:
    model = tiny_model(architecture, dtype=torch.float64)
    update = _update(model, kind)
    before, shape, factors = state(model), structure(model), _tensors(update)
    start = torch.rand(len(update.layers), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gamma = start.clone().requires_grad_()
    step = 1e-4
    with Double(), gated(model, update, gamma) as gates:
        torch.autograd.backward(_loss(model))
        assert gamma.grad is not None
        for index, name in enumerate(update.layers):
            losses = []
            for sign in (1, -1):
                gates.set(start + sign * step * F.one_hot(torch.tensor(index), len(start)))
                with torch.no_grad():
                    losses.append(float(_loss(model)))
            difference = (losses[0] - losses[1]) / (2 * step)
            assert gamma.grad[index].item() == pytest.approx(difference, abs=1e-6), name
    assert gamma.grad.abs().max() > 1e-2
    assert_same_state(before, model)
    assert structure(model) == shape
    assert all(torch.equal(old, new) for old, new in zip(factors, _tensors(update), strict=True))


@pytest.mark.parametrize("architecture", EVERY)
def test_open_gates_are_the_adapted_model_and_closed_gates_the_base(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model, head=True)
    base = model(tiny_batch()).logits
    adapted = adapter_folder(model, layers, tmp_path)
    update = read_adapter(tmp_path, layers)
    assert update.layers == layers.names
    with gated(model, update, torch.ones(len(layers))) as gates:
        assert (model(tiny_batch()).logits - adapted).abs().max() <= 1e-5 * adapted.abs().max()
        gates.set(torch.zeros(len(layers)))
        torch.testing.assert_close(model(tiny_batch()).logits, base, rtol=0, atol=1e-6)
    assert torch.equal(model(tiny_batch()).logits, base)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_oss"])
def test_gated_equals_adding_the_gated_update_to_the_weights(architecture: str) -> None:
    model, other = tiny_model(architecture, tied=False), tiny_model(architecture, tied=False)
    update = _update(model, "dense")
    gamma = torch.rand(len(update.layers), generator=torch.Generator().manual_seed(1))
    for gate, layer in zip(gamma, layer_map(other, head=True), strict=True):
        layer_weight(other, layer).data += gate * update.delta(layer.name).dense()
    with gated(model, update, gamma):
        torch.testing.assert_close(model(tiny_batch()).logits, other(tiny_batch()).logits, rtol=0, atol=2e-5)


def test_a_tied_head_is_gated_without_touching_the_embedding() -> None:
    model = tiny_model("gemma2")
    head = layer_map(model, head=True)[-1]
    delta = 0.1 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    hidden = model.model(tiny_batch()).last_hidden_state
    expected = F.linear(hidden, model.lm_head.weight + 0.5 * delta)
    expected = 30.0 * torch.tanh(expected / 30.0)  # the model's own soft-capping follows the head
    with gated(model, LowRankUpdate({head.name: Delta(delta)}), torch.tensor([0.5])):
        torch.testing.assert_close(model(tiny_batch()).logits, expected, rtol=0, atol=1e-5)


def test_gradients_reach_the_inputs_of_gated_layers_with_checkpointing() -> None:
    model = tiny_model("llama")
    update = _update(model, "low-rank")
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
            model.train()
        gamma = torch.full((len(update.layers),), 0.7, requires_grad=True)
        with gated(model, update, gamma):
            torch.autograd.backward(_loss(model))
        gradients.append(gamma.grad)
    assert gradients[0] is not None
    torch.testing.assert_close(*gradients)


def test_gate_gradients_in_bfloat16_stay_close_to_float32() -> None:
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny_model("llama", dtype=dtype)
        gamma = torch.full((len(layer_map(model, head=True)),), 0.5, requires_grad=True)
        with gated(model, _update(model, "low-rank"), gamma):
            torch.autograd.backward(_loss(model))
        assert gamma.grad is not None
        gradients[dtype] = gamma.grad
    exact, rounded = gradients[torch.float32], gradients[torch.bfloat16]
    assert exact.dtype == rounded.dtype == torch.float32
    assert (rounded - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe"])
def test_the_model_is_clean_after_an_error_in_the_block(architecture: str) -> None:
    model = tiny_model(architecture)
    before, shape, base = state(model), structure(model), model(tiny_batch()).logits
    update = _update(model, "low-rank")

    def fail(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise RuntimeError("inside the forward pass")

    handle = model.model.layers[1].mlp.act_fn if architecture == "llama" else model.model.layers[1].mlp.experts.act_fn
    hook = handle.register_forward_pre_hook(fail)
    with (
        pytest.raises(RuntimeError, match="inside the forward pass"),
        gated(model, update, torch.ones(len(update.layers))),
    ):
        model(tiny_batch())
    hook.remove()
    assert_same_state(before, model)
    assert structure(model) == shape
    assert torch.equal(model(tiny_batch()).logits, base)


def test_what_does_not_fit_is_refused() -> None:
    model = tiny_model("llama")
    strange = gated(model, low_rank_update(layer_map(tiny_model("gpt2"))), torch.ones(12))
    with pytest.raises(UserError, match=r"transformer\.h\.0\.attn\.c_attn, which the model does not have"), strange:
        pass
    short = gated(model, low_rank_update(layer_map(model)), torch.ones(3))
    with pytest.raises(ValueError, match=r"shape \(3,\) instead of \(21,\)"), short:
        pass
