"""Cross entropy over target tokens in float32, without a float32 copy of all logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Elements at a time: 6 MB in float32, which stays in the last-level cache of a CPU.
_CHUNK = 32 * 50_000


class _CrossEntropy(torch.autograd.Function):
    """The gradient is made with the loss, while the probabilities of a chunk are at hand."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, divisor: int) -> Tensor:
        rows = max(1, _CHUNK // logits.shape[-1])
        compute = torch.promote_types(logits.dtype, torch.float32)
        gradient = torch.empty_like(logits)
        total = torch.zeros((), dtype=compute, device=logits.device)
        parts = (torch.split(each, rows) for each in (logits, gradient, labels))
        for chunk, out, label in zip(*parts, strict=True):
            probabilities = torch.softmax(chunk, -1, dtype=compute)
            # The largest probability is never tiny, so the logarithm of the sum is exact where a label's may underflow.
            logsumexp = chunk.amax(-1).to(compute) - probabilities.amax(-1).log()
            index = label[:, None]
            total += (logsumexp - chunk.gather(1, index).squeeze(1)).sum()
            probabilities.scatter_add_(1, index, probabilities.new_full((1, 1), -1.0).expand_as(index))
            out.copy_(probabilities.div_(divisor))
        ctx.save_for_backward(gradient)
        return total / divisor

    @staticmethod
    def backward(ctx: Any, upper: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        # In place, since the logits are the largest tensor of a step; a second backward would be refused by autograd.
        return gradient.mul_(upper), None, None


def cross_entropy(logits: Tensor, labels: Tensor, divisor: int) -> Tensor:
    """Sum over rows of the cross entropy in nats, over `divisor`, in float32 (float64 for float64 logits).

    Args:
        logits: [n, vocabulary].
        labels: int64 [n].
        divisor: Target tokens of the whole optimizer batch, of which the rows may be a part.
    """
    return _CrossEntropy.apply(logits, labels, divisor)  # type: ignore[no-any-return, no-untyped-call]
