"""The fast LoRA layer against PEFT's own forward."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from layersig.fast import profile
from layersig.fast.dropout import Mask, keyed_dropout
from layersig.fast.layout import Layout, Segment
from layersig.fast.lora import fast_lora, lora_linear
from layersig.models.adapters.wrappers import expected_warnings
from layersig.streams import Streams
from tests.models.helpers import move
from tests.tiny import tiny_batch, tiny_model

STREAMS = Streams(root=5)
BATCH = tiny_batch(rows=2, length=12)
LAYOUT = Layout(24, [Segment("a", 0, 12), Segment("b", 12, 12)])


def adapted(dtype=torch.float64, *, architecture="llama", dropout=0.0, scale=0.1, **options):
    model = tiny_model(architecture, dtype=dtype)
    options = {"target_modules": ["q_proj", "v_proj", "down_proj"]} | options
    with expected_warnings():
        peft_model = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, lora_dropout=dropout, **options))
    move(peft_model)
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = (parameter.data * scale).to(torch.promote_types(dtype, torch.float32))
    return peft_model


def outcome(model, *, fast):
    """Logits, gradients of the factors, and how many layers ran on the fast path."""
    model.zero_grad()
    with keyed_dropout(model, STREAMS) as keys, fast_lora(model) if fast else nullcontext(0) as count:
        model.train()
        keys.set(1, LAYOUT)
        logits = model(BATCH).logits
        logits.float().logsumexp(-1).sum().backward()
        model.eval()
    gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.requires_grad}
    return logits.detach(), gradients, count


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_equals_peft(dtype, tolerance, dropout):
    model = adapted(dtype, dropout=dropout)
    logits, gradients, _ = outcome(model, fast=False)
    fast_logits, fast_gradients, count = outcome(model, fast=True)
    assert count == 9
    torch.testing.assert_close(fast_logits, logits, rtol=tolerance, atol=tolerance * logits.abs().max().item())
    for name, gradient in gradients.items():
        assert fast_gradients[name].dtype == gradient.dtype
        scale = gradient.abs().max().item()
        torch.testing.assert_close(fast_gradients[name], gradient, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_bfloat16_gradients_are_no_further_from_float32_than_those_of_peft(dropout):
    _, reference, _ = outcome(adapted(torch.float32, dropout=dropout), fast=False)
    model = adapted(torch.bfloat16, dropout=dropout)
    for name, parameter in adapted(torch.float32, dropout=dropout).named_parameters():
        if parameter.requires_grad:
            model.get_parameter(name).data = parameter.data

    def distance(fast):
        _, gradients, _ = outcome(model, fast=fast)
        assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
        return sum((gradients[name] - reference[name]).square().sum().item() for name in reference) ** 0.5

    assert distance(fast=True) < 1.15 * distance(fast=False)


@pytest.mark.parametrize("keep", [False, True])
def test_gradients_by_finite_differences(keep):
    def draw(*shape, needed=True):
        generator = torch.Generator().manual_seed(sum(shape))
        return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_(needed)

    x, weight, bias, a, b = draw(2, 5, 6), draw(7, 6, needed=False), draw(7, needed=False), draw(3, 6), draw(7, 3)
    mask = (draw(10, 6, needed=False) > 0).double() if keep else None
    gate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def run(x, a, b, gate):
        return lora_linear(x, weight, bias, a, b, scale=gate * 1.5, mask=None if mask is None else Mask(mask))

    assert torch.autograd.gradcheck(run, (x, a, b, gate))
    dropped = x if mask is None else x * mask.view_as(x)
    expected = x @ weight.T + bias + 1.05 * dropped @ a.T @ b.T
    torch.testing.assert_close(run(x, a, b, gate), expected, rtol=1e-12, atol=1e-12)


def test_frozen_inputs_and_factors_get_no_gradient():
    x, weight, a, b = torch.randn(4, 3), torch.randn(2, 3), torch.randn(1, 3), torch.randn(2, 1, requires_grad=True)
    y = lora_linear(x, weight, None, a, b, scale=1.0)
    y.sum().backward()
    assert x.grad is None
    assert a.grad is None
    torch.testing.assert_close(b.grad, (x @ a.T).sum(0).expand(2, 1))


@pytest.mark.parametrize(
    ("options", "architecture"),
    [
        ({"use_dora": True}, "llama"),
        ({"lora_bias": True, "target_modules": ["c_attn"]}, "gpt2"),
        ({"target_modules": ["embed_tokens"]}, "llama"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_leaves_what_it_does_not_know_to_peft(options, architecture):
    model = adapted(architecture=architecture, **options)
    with fast_lora(model) as count:
        assert count == 0


def test_leaves_several_adapters_trained_weights_and_disabled_adapters_to_peft():
    model = adapted()
    expected = tiny_model("llama", dtype=torch.float64)(BATCH).logits
    with fast_lora(model) as count, model.disable_adapter():
        assert count == 9
        torch.testing.assert_close(model(BATCH).logits, expected, rtol=0, atol=0)
    model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj").base_layer.weight.requires_grad_(True)
    with fast_lora(model) as count:
        assert count == 8
    model.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"]))
    model.base_model.set_adapter(["default", "second"])
    with fast_lora(model) as count:
        assert count == 0


def test_factors_are_read_anew_in_every_forward():
    model = adapted()
    with fast_lora(model), torch.no_grad():
        before = model(BATCH).logits
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.zero_()
        after = model(BATCH).logits
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, tiny_model("llama", dtype=torch.float64)(BATCH).logits, rtol=1e-12, atol=1e-12)


def test_puts_peft_back():
    model = adapted()
    with pytest.raises(RuntimeError), fast_lora(model):
        raise RuntimeError
    assert not any("forward" in vars(module) for module in model.modules())


class Casts(TorchDispatchMode):
    """Counts casts."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_factors_are_cast_once_and_give_the_same_bits(dtype):
    model = adapted(dtype)
    found = []
    for frozen in (False, True):
        with torch.no_grad(), fast_lora(model, frozen=frozen), Casts() as casts:
            found.append((model(BATCH).logits, casts.count))
    (logits, many), (frozen_logits, few) = found
    assert torch.equal(logits, frozen_logits)
    assert many - few == (18 if dtype is torch.bfloat16 else 0)


def over_four_bits(kind):
    """A tiny model whose blocks are in NF4, with factors that have moved."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = tiny_model("llama")
    for name, module in list(model.model.layers.named_modules()):
        if type(module) is nn.Linear:
            small = bitsandbytes.nn.Linear4bit(
                module.in_features, module.out_features, bias=False, compute_dtype=torch.float32, quant_type="nf4"
            )
            small.weight = bitsandbytes.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
            owner, _, attribute = name.rpartition(".")
            setattr(model.model.layers.get_submodule(owner), attribute, small.to("cpu"))
    model.is_loaded_in_4bit = True
    chosen = {"target_modules": ["q_proj", "v_proj", "down_proj"], "lora_dropout": 0.3}
    if kind == "adalora":
        config = AdaLoraConfig(init_r=4, target_r=2, total_step=9, **chosen)
    else:
        config = LoraConfig(r=4, lora_alpha=6, **chosen)
    with warnings.catch_warnings(action="ignore"):
        adapted_ = get_peft_model(model, config)
    move(adapted_)
    return adapted_


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lora", "adalora"])
def test_quantized_layers_run_their_factors_here_on_a_gpu_alone(kind, as_gpu, monkeypatch):
    model = over_four_bits(kind)
    logits, gradients, _ = outcome(model, fast=False)
    fast_logits, fast_gradients, count = outcome(model, fast=True)
    assert count == 9
    torch.testing.assert_close(fast_logits, logits, rtol=1e-5, atol=1e-5 * logits.abs().max().item())
    for name, gradient in gradients.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(fast_gradients[name], gradient, rtol=1e-5, atol=1e-5 * scale)
    monkeypatch.setattr(profile, "profile_of", lambda device: profile.CPU)
    with fast_lora(model) as count:
        assert count == 0


def test_the_factors_of_a_quantized_layer_keep_nothing_large_in_float32():
    saved = []
    x = torch.randn(5, 8, dtype=torch.bfloat16, requires_grad=True)
    a, b = torch.randn(2, 8, requires_grad=True), torch.randn(6, 2, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        y = lora_linear(x, None, None, a, b, scale=2.0)
    assert y.dtype == torch.bfloat16
    assert sorted(each.shape for each in saved if each.dtype == torch.bfloat16) == [(5, 2), (5, 8)]
    assert {each.shape for each in saved if each.dtype == torch.float32} == {a.shape, b.shape}
