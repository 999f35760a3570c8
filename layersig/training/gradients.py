"""Gradients of the training loss, read layer by layer so that they need not all be in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from layersig.data.examples import Examples
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
    state = {"batch": 0, "last": False}
    unseen: set[str] = set()

    def show(name: str, parameter: Tensor) -> None:
        visit(state["batch"], name, torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        parameter.grad = None
        unseen.discard(name)

    def hook(name: str) -> Callable[[Tensor], None]:
        return lambda parameter: show(name, parameter) if state["last"] else None

    with ExitStack() as stack:
        for name, parameter in parameters.items():
            stack.callback(_as_before, parameter, parameter.requires_grad)
            parameter.requires_grad_(True)
            handle = parameter.register_post_accumulate_grad_hook(hook(name))  # type: ignore[no-untyped-call]
            stack.callback(handle.remove)
        for number, batch in enumerate(batches):
            divisor = int(targets[list(batch)].sum())
            pieces = runner.cut(batch)
            unseen.update(parameters)
            for place, piece in enumerate(pieces):
                state["batch"], state["last"] = number, place == len(pieces) - 1
                runner.loss(piece, divisor).backward()  # type: ignore[no-untyped-call]
            for name in sorted(unseen):
                show(name, parameters[name])


def _as_before(parameter: Tensor, required: bool) -> None:
    parameter.requires_grad_(required)
    parameter.grad = None
