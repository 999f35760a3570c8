"""Cross entropy over target tokens in float32, without a float32 copy of logits, nor all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from layersig.fast import profile
from layersig.fast.batching import MicroBatch
from layersig.fast.head import SplitModel


def target_loss(split: SplitModel, micro: MicroBatch, divisor: int) -> Tensor:
    """Sum over the targets of a micro-batch of their cross entropy in nats, over `divisor`.

    A frozen head goes through its logits piece by piece, forward and backward, so that they are never all in memory;
    the gradient is made with the loss. A head that something is trained in runs on all targets at once.

    Args:
        split: A causal language model, in the mode it is to be run in.
        micro: Some examples of an optimizer batch.
        divisor: Target tokens of the whole optimizer batch.
    """
    hidden, head = split.run(micro.inputs, micro.positions)
    if _is_trained(split, head, hidden):
        return cross_entropy(head(hidden), micro.labels, divisor)
    return _HeadLoss.apply(hidden, micro.labels, divisor, head)  # type: ignore[no-any-return, no-untyped-call]


def log_probabilities(split: SplitModel, micro: MicroBatch) -> Tensor:
    """Log-probability of the targets of every sequence of a micro-batch, in nats, in float32 or wider: [sequences].

    As in `target_loss`, a frozen head goes through its logits piece by piece.

    Args:
        split: A causal language model, in the mode it is to be run in.
        micro: The sequences.
    """
    hidden, head = split.run(micro.inputs, micro.positions)
    if _is_trained(split, head, hidden):
        losses = _row_losses(head(hidden), micro.labels)
    else:
        losses = _HeadRowLosses.apply(hidden, micro.labels, head)  # type: ignore[no-untyped-call]
    return -sequence_sums(losses, micro)


def sequence_sums(losses: Tensor, micro: MicroBatch) -> Tensor:
    """Sum of the losses of the targets of every sequence of a micro-batch: [sequences]."""
    rows = [segment.rows for segment in micro.layouts[1].segments]
    return torch.stack([part.sum() for part in torch.split(losses, rows)])


def _is_trained(split: SplitModel, head: Callable[[Tensor], Tensor], hidden: Tensor) -> bool:
    """Whether a gradient flows into the head itself: into its parameters, or into what gates them."""
    if not torch.is_grad_enabled():
        return False
    parameters = split.model.get_output_embeddings().parameters()
    return any(each.requires_grad for each in parameters) or head(hidden[:1].detach()).requires_grad


class _HeadLoss(torch.autograd.Function):
    """Loss through a frozen head, piece by piece of the target rows.

    With hidden states h_i (hidden), i = 1..n, and the loss L = sum_i l(head(h_i), label_i) / divisor, the rows do not
    interact, so dL/dh_i needs the logits of row i alone. The forward pass therefore runs head, loss and the head's
    backward for some rows at a time and keeps only dL/dh (n, hidden): never all n x vocabulary logits. The backward
    pass multiplies it by the gradient that arrives from above, a scalar.

    This holds only where no gradient flows into the head itself, which `_is_trained` rules out.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, labels: Tensor, divisor: int, head: Callable[[Tensor], Tensor]) -> Tensor:
        needed = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if needed else None
        total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        piece_targets = profile.profile_of(hidden.device).piece_targets
        for start in range(0, len(hidden), piece_targets):
            rows = slice(start, start + piece_targets)
            with torch.set_grad_enabled(needed):
                piece = hidden[rows].detach().requires_grad_(needed)
                loss = cross_entropy(head(piece), labels[rows], divisor)
                if gradient is not None:
                    (gradient[rows],) = torch.autograd.grad(loss, piece)
            total += loss.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upper: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upper, None, None, None


class _HeadRowLosses(torch.autograd.Function):
    """As `_HeadLoss`, with a loss for each row, [n], whose weights come with the gradient from above.

    A row of dL/dh is that of its own loss, times its weight.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
        needed = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if needed else None
        losses = torch.empty(len(hidden), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        piece_targets = profile.profile_of(hidden.device).piece_targets
        for start in range(0, len(hidden), piece_targets):
            rows = slice(start, start + piece_targets)
            with torch.set_grad_enabled(needed):
                piece = hidden[rows].detach().requires_grad_(needed)
                found = _row_losses(head(piece), labels[rows])
                if gradient is not None:
                    (gradient[rows],) = torch.autograd.grad(found.sum(), piece)
            losses[rows] = found.detach()
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upper: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upper[:, None].to(gradient.dtype), None, None


def _row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.nn.functional.cross_entropy(logits.to(wide), labels, reduction="none")


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy whose gradient is computed together with the loss, while a chunk's probabilities are at hand.

    For logits z (n, vocabulary), p = softmax(z) by row, and labels y:

        L = 1/divisor * sum_i (logsumexp(z_i) - z_i[y_i])
        dL/dz_ij = (p_ij - [j = y_i]) / divisor

    logsumexp(z_i) is max_j z_ij - log(max_j p_ij), since the largest probability is exp(max - logsumexp).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, divisor: int) -> Tensor:
        rows = max(1, profile.profile_of(logits.device).chunk_elements // logits.shape[-1])
        compute = torch.promote_types(logits.dtype, torch.float32)
        gradient = torch.empty_like(logits)
        total = torch.zeros((), dtype=compute, device=logits.device)
        parts = (torch.split(each, rows) for each in (logits, gradient, labels))
        for chunk, out, label in zip(*parts, strict=True):
            probabilities = torch.softmax(chunk, -1, dtype=compute)
            # The largest probability is at least 1 / vocabulary, while that of a label may underflow.
            logsumexp = chunk.amax(-1).to(compute) - probabilities.amax(-1).log()
            index = label[:, None]
            total += (logsumexp - chunk.gather(1, index).squeeze(1)).sum()
            # Not `scatter_add_`, whose deterministic form on a GPU waits for the device.
            places = torch.arange(len(label), device=label.device), label
            probabilities.index_put_(places, probabilities.new_full((), -1.0), accumulate=True)
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
