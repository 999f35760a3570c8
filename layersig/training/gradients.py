"""Gradients of the training loss, read layer by layer so that they need not all be in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor

from layersig.data.examples import Examples
from layersig.errors import StageFailed
from layersig.fast.runner import Runner


def visit_gradients(
    runner: Runner,
    parameters: Mapping[str, Tensor],
    examples: Examples,
    batches: Sequence[Sequence[int]],
    visit: Callable[[int, str, Tensor], None],
) -> None:
    """Show the gradient of the loss of every optimizer batch with respect to every parameter.

    The loss is that of training: summed over target tokens, over their number in the whole batch. A gradient is shown
    as soon as the last piece of the batch has added to it and freed right after; where a batch fits into one piece,
    one gradient at a time is in memory. A parameter that the last piece does not reach is shown after it, one that no
    piece reaches with zeros.

    Args:
        runner: Runs the model, which is left as it is.
        parameters: Leaf tensors of the model by name.
        examples: What `batches` index.
        batches: Optimizer batches.
        visit: Called as visit(batch number from 0, name, gradient in the parameter's shape and dtype).
    """
    targets = examples.target_counts
    number, last, showing = 0, False, ""
    unseen: set[str] = set()

    def show(name: str, parameter: Tensor) -> None:
        nonlocal showing
        # Where memory ran out in the last piece, what it had completed by then has been shown already.
        if name in unseen:
            showing = name
            visit(number, name, torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
            showing = ""
            unseen.discard(name)
        parameter.grad = None

    def hook(name: str) -> Callable[[Tensor], None]:
        return lambda parameter: show(name, parameter) if last else None

    def add_up(divisor: int, pieces: Sequence[Sequence[int]]) -> None:
        nonlocal last
        if showing:
            raise StageFailed(
                f"memory ran out while the gradient of {showing} was read; free some memory, or use a scorer "
                "without gradients"
            )
        for parameter in parameters.values():
            parameter.grad = None
        for place, piece in enumerate(pieces, start=1):
            last = place == len(pieces)
            runner.loss(piece, divisor).backward()  # type: ignore[no-untyped-call]

    with ExitStack() as stack:
        for name, parameter in parameters.items():
            stack.callback(_as_before, parameter, parameter.requires_grad)
            parameter.requires_grad_(True)
            handle = parameter.register_post_accumulate_grad_hook(hook(name))  # type: ignore[no-untyped-call]
            stack.callback(handle.remove)
        for number, batch in enumerate(batches):  # noqa: B007  # `show` reads it
            unseen.update(parameters)
            runner.in_pieces(batch, partial(add_up, int(targets[list(batch)].sum())))
            for name in sorted(unseen):
                show(name, parameters[name])


def _as_before(parameter: Tensor, required: bool) -> None:
    parameter.requires_grad_(required)
    parameter.grad = None
