"""The training loss against torch's."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from layersig.fast import profile
from layersig.fast.batching import PaddedBatching
from layersig.fast.head import logits_at, split_at_head
from layersig.fast.lora import fast_lora
from layersig.fast.loss import cross_entropy, target_loss
from tests.tiny import tiny_model
from tests.training.world import CPU, adapted, examples, trained


def draw(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(7, 50, dtype=torch.float64, generator=generator)).to(dtype).requires_grad_(True)
    return logits, torch.randint(50, (7,), generator=generator)


def sizes(monkeypatch, **changed):
    found = dataclasses.replace(profile.CPU, **changed)
    monkeypatch.setattr(profile, "profile_of", lambda device: found)


@pytest.mark.parametrize("chunk", [1, 120, 10_000])
def test_equals_torch_whatever_the_chunk(chunk, monkeypatch):
    sizes(monkeypatch, chunk_elements=chunk)
    logits, labels = draw(torch.float64)
    reference = functional.cross_entropy(logits, labels, reduction="sum") / 5
    (expected,) = torch.autograd.grad(3 * reference, logits)
    found = cross_entropy(logits, labels, 5)
    (gradient,) = torch.autograd.grad(3 * found, logits)
    torch.testing.assert_close(found, reference, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


def test_bfloat16_logits_are_summed_in_float32():
    logits, labels = draw(torch.bfloat16)
    reference = functional.cross_entropy(logits.double(), labels, reduction="sum") / 5
    found = cross_entropy(logits, labels, 5)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(reference.item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(found, logits)
    (expected,) = torch.autograd.grad(reference, logits)
    torch.testing.assert_close(gradient.double(), expected.double(), rtol=2**-8, atol=1e-12)


def test_a_second_backward_is_refused():
    logits, labels = draw(torch.float64)
    found = cross_entropy(logits, labels, 5)
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


def micro_batch(budget=200):
    batching = PaddedBatching(budget)
    found = examples(6)
    (cut,) = batching.cut([len(each) for each in found], range(6))
    return batching.lay_out([found[index] for index in cut], CPU)


@pytest.mark.parametrize("piece", [3, 1000])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_a_frozen_head_in_pieces_gives_loss_and_gradients_of_the_whole(architecture, piece, monkeypatch):
    sizes(monkeypatch, piece_targets=piece)
    model, micro = adapted(architecture), micro_batch()
    with logits_at(model, micro.positions):
        logits = model(**micro.inputs, use_cache=False).logits
    reference = functional.cross_entropy(logits.view(len(micro.labels), -1), micro.labels, reduction="sum") / 7
    reference.backward()
    expected = {name: value.grad.clone() for name, value in trained(model).items()}
    model.zero_grad()
    with split_at_head(model.get_base_model()) as split:
        found = target_loss(split, micro, 7)
        found.backward()
    assert found.item() == pytest.approx(reference.item(), rel=1e-6)
    for name, value in trained(model).items():
        torch.testing.assert_close(value.grad, expected[name], rtol=1e-5, atol=1e-9)
    with torch.no_grad(), split_at_head(model.get_base_model()) as split:
        assert target_loss(split, micro, 7).item() == pytest.approx(found.item(), rel=1e-12)


@pytest.mark.parametrize("fast", [True, False])
def test_a_head_that_is_trained_or_gated_gets_its_gradient(fast):
    model, micro = adapted("llama", layers=["lm_head", "model.layers.1.mlp.up_proj"]), micro_batch()
    base = model.get_base_model()
    with fast_lora(model) if fast else nullcontext():
        reference = adapted("llama", layers=["lm_head", "model.layers.1.mlp.up_proj"])
        with logits_at(reference, micro.positions):
            logits = reference(**micro.inputs, use_cache=False).logits
        (functional.cross_entropy(logits, micro.labels, reduction="sum") / 7).backward()
        with split_at_head(base) as split:
            target_loss(split, micro, 7).backward()
    for name, value in trained(model).items():
        torch.testing.assert_close(value.grad, reference.get_parameter(name).grad, rtol=1e-8, atol=1e-12)
    gate = torch.ones((), dtype=torch.float64, requires_grad=True)
    plain = tiny_model("llama", dtype=torch.float64)
    plain.get_output_embeddings().register_forward_hook(lambda module, inputs, output: output * gate)
    with split_at_head(plain.requires_grad_(False)) as split:
        target_loss(split, micro, 7).backward()
    assert gate.grad is not None
    assert gate.grad != 0
