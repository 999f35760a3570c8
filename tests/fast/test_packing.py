"""PackedBatching examples against each example run alone with the model's own attention."""

from __future__ import annotations

import pytest
import torch

from layersig.fast import packing
from layersig.fast.packing import packed, packed_inputs, why_padded
from tests.tiny import tiny_batch, tiny_model

LENGTHS = (5, 1, 17, 8)
EXAMPLES = [tiny_batch(rows=1, length=length, seed=length)[0] for length in LENGTHS]


def outcome(model, run):
    """Logits of all examples end to end, and the gradient of every weight."""
    model.requires_grad_(True).zero_grad()
    logits = run(model)
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    (logits * weights).sum().backward()
    return logits.detach(), {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def alone(model):
    return torch.cat([model(input_ids=each[None], use_cache=False).logits[0] for each in EXAMPLES])


def together(model):
    with packed(model):
        return model(**packed_inputs(EXAMPLES, torch.device("cpu")), use_cache=False).logits[0]


@pytest.mark.parametrize("block", [128, 4])
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt_neox", "olmo2", "phi3", "qwen3_moe"])
def test_equals_each_example_alone(architecture, block, monkeypatch):
    monkeypatch.setattr(packing, "_BLOCK", block)
    logits, gradients = outcome(tiny_model(architecture, dtype=torch.float64), alone)
    found, found_gradients = outcome(tiny_model(architecture, dtype=torch.float64), together)
    # Norms and routers of most architectures round to float32.
    torch.testing.assert_close(found, logits, rtol=1e-6, atol=1e-6)
    assert found_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-6, atol=1e-6 * scale)


def test_attention_by_finite_differences(monkeypatch):
    monkeypatch.setattr(packing, "_BLOCK", 3)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, 9, 4, dtype=torch.float64, generator=generator).requires_grad_(True)
        for heads in (4, 2, 2)
    )
    assert torch.autograd.gradcheck(lambda *each: packing._Attention.apply(*each, (0, 2, 9), 0.5), (query, key, value))


@pytest.mark.parametrize(
    ("architecture", "longest", "expected"),
    [
        ("llama", 200, True),
        ("qwen3_moe", 200, True),
        ("qwen2_moe", 200, True),  # writes a window of 0 for none
        ("mistral", 8, True),
        ("mistral", 9, False),  # its sliding window is 8
        ("gemma2", 8, False),  # soft-capped scores
    ],
)
def test_packs_only_what_stays_the_same(architecture, longest, expected):
    model = tiny_model(architecture)
    assert (why_padded(model, longest) is None) is expected
    assert model.config._attn_implementation in {"sdpa", "eager"}


def test_a_model_whose_rows_mix_or_that_forgets_positions_is_not_packed():
    mixing = tiny_model("llama")
    mixing.model.layers[1].mlp.register_forward_hook(lambda module, inputs, output: output + output.mean(1, True))
    assert why_padded(mixing, 10) is not None
    forgetting = tiny_model("gpt2")
    forgetting.register_forward_pre_hook(
        lambda module, inputs, kwargs: (inputs, kwargs | {"position_ids": None}), with_kwargs=True
    )
    assert why_padded(forgetting, 10) is not None
    assert why_padded(tiny_model("gpt2"), 10) is None


def test_what_only_one_draw_of_tokens_shows_is_rounding(monkeypatch):
    own, scales = packing._last_logits, iter([1.1])
    monkeypatch.setattr(packing, "_last_logits", lambda model, inputs: own(model, inputs) * next(scales, 1.0))
    assert why_padded(tiny_model("llama"), 10) is None
    assert next(scales, None) is None


def test_other_attention_is_left_alone():
    model = tiny_model("llama")
    model.set_attn_implementation("eager")
    assert why_padded(model, 10) is not None
