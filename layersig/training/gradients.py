"""Gradients of the training loss, read layer by layer so that they need not all be in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor

from layersig.data.pairs import Items
from layersig.errors import StageFailed
from layersig.fast.protocol import Runner
from layersig.training.footprint import BUFFER, portions


def visit_gradients(
    runner: Runner,
    parameters: Mapping[str, Tensor],
    examples: Items,
    batches: Sequence[Sequence[int]],
    visit: Callable[[int, str, Tensor], None],
    *,
    buffer: int = BUFFER,
) -> None:
    """Show the gradient of the loss of every optimizer batch with respect to every parameter.

    The loss is that of training, of the whole batch. A gradient is shown as soon as the last piece of the batch has
    added to it and freed right after. Where a batch fits into one piece, one gradient at a time is in memory. Otherwise
    gradients are summed over the pieces, in float32 or wider, and the batch passes the model several times if the sums
    of all parameters take more than `buffer`, every time for as many parameters as fit. A parameter that the last piece
    does not reach is shown after it, one that no piece reaches with zeros.

    Args:
        runner: Runs the model, which is left as it is.
        parameters: Leaf tensors of the model by name.
        examples: What `batches` index.
        batches: Optimizer batches.
        visit: Called as visit(batch number from 0, name, gradient in the parameter's shape, float32 or wider).
        buffer: Bytes of sums; a parameter that takes more has a pass of its own.
    """
    weights = examples.weights
    unseen: dict[str, Tensor] = {}
    showing = ""

    def show(number: int, name: str, gradient: Tensor) -> None:
        nonlocal showing
        showing = name
        visit(number, name, gradient)
        showing = ""
        del unseen[name]

    def attempt(number: int, divisor: int, pieces: Sequence[Sequence[int]]) -> None:
        if showing:
            raise StageFailed(
                f"memory ran out while the gradient of {showing} was read; free some memory, or use a scorer "
                "without gradients"
            )
        # Where memory ran out before, what had been shown by then is not shown again.
        left = list(unseen.items())
        for group in list(portions(left, _bytes, buffer)) if len(pieces) > 1 else [left]:
            _visit_group(runner, dict(group), pieces, divisor, partial(show, number))

    with ExitStack() as stack:
        for parameter in parameters.values():
            stack.callback(_as_before, parameter, parameter.requires_grad)
            parameter.requires_grad_(False)
        for number, batch in enumerate(batches):
            unseen.update(parameters)
            runner.in_pieces(batch, partial(attempt, number, int(weights[list(batch)].sum())))


def _visit_group(
    runner: Runner,
    parameters: Mapping[str, Tensor],
    pieces: Sequence[Sequence[int]],
    divisor: int,
    show: Callable[[str, Tensor], None],
) -> None:
    """Show the gradient of one batch with respect to some parameters."""
    sums: dict[str, Tensor] = {}
    unseen = dict(parameters)
    last = False

    def take(name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.to(_wide(parameter))
        parameter.grad = None
        if name in sums:
            gradient = sums.pop(name).add_(gradient)
        if last:
            del unseen[name]
            show(name, gradient)
        else:
            sums[name] = gradient

    def hook(name: str) -> Callable[[Tensor], None]:
        return lambda parameter: take(name, parameter)

    with ExitStack() as stack:
        for name, parameter in parameters.items():
            stack.callback(_as_before, parameter, False)
            parameter.requires_grad_(True)
            handle = parameter.register_post_accumulate_grad_hook(hook(name))  # type: ignore[no-untyped-call]
            stack.callback(handle.remove)
        for piece in pieces:
            last = piece is pieces[-1]
            loss = runner.loss(piece, divisor)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
    for name in sorted(unseen):
        found = sums.pop(name, None)
        show(name, torch.zeros_like(parameters[name], dtype=_wide(parameters[name])) if found is None else found)


def _bytes(named: tuple[str, Tensor]) -> int:
    """Bytes of the sum of a parameter's gradients."""
    _, parameter = named
    return parameter.numel() * _wide(parameter).itemsize


def _wide(parameter: Tensor) -> torch.dtype:
    return torch.promote_types(parameter.dtype, torch.float32)


def _as_before(parameter: Tensor, required: bool) -> None:
    parameter.requires_grad_(required)
    parameter.grad = None
