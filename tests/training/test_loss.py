from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from layersig.training import loss as loss_module
from layersig.training.loss import cross_entropy


def draw(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(7, 50, dtype=torch.float64, generator=generator)).to(dtype).requires_grad_(True)
    return logits, torch.randint(50, (7,), generator=generator)


@pytest.mark.parametrize("chunk", [1, 120, 10_000])
def test_equals_torch_whatever_the_chunk(chunk, monkeypatch):
    monkeypatch.setattr(loss_module, "_CHUNK", chunk)
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
