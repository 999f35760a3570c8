"""Gradients of the training loss, read layer by layer so that they need not all be in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layersig.data.examples import Examples
from layersig.fast.batching import Padded
from layersig.fast.head import split_at_head
from layersig.fast.loss import target_loss


def visit_gradients(
    model: PreTrainedModel,
    parameters: Mapping[str, Tensor],
    examples: Examples,
    batches: Sequence[Sequence[int]],
    visit: Callable[[int, str, Tensor], None],
    *,
    token_budget: int,
    device: torch.device,
) -> None:
    """Show the gradient of the loss of every optimizer batch with respect to every parameter.

    The loss is that of training: summed over target tokens, over their number in the whole batch. A gradient is shown
    as soon as the last micro-batch has added to it and freed right after; where a batch fits into one micro-batch,
    one gradient at a time is in memory. A parameter that the last micro-batch does not reach is shown after it, one
    that no micro-batch reaches with zeros.

    Args:
        model: A causal language model on `device`; it is run in the mode it is in, and left as it is.
        parameters: Leaf tensors of the model by name.
        examples: What `batches` index.
        batches: Optimizer batches.
        visit: Called as visit(batch number from 0, name, gradient in the parameter's shape and dtype).
        token_budget: Padded tokens of a micro-batch.
        device: Where the model is.
    """
    batching = Padded(token_budget)
    lengths = [len(examples[index]) for index in range(len(examples))]
    state = {"batch": 0, "last": False}
    unseen: set[str] = set()

    def show(name: str, parameter: Tensor) -> None:
        visit(state["batch"], name, torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        parameter.grad = None
        unseen.discard(name)

    def hook(name: str) -> Callable[[Tensor], None]:
        return lambda parameter: show(name, parameter) if state["last"] else None

    with ExitStack() as stack:
        split = stack.enter_context(split_at_head(model))
        for name, parameter in parameters.items():
            stack.callback(_as_before, parameter, parameter.requires_grad)
            parameter.requires_grad_(True)
            handle = parameter.register_post_accumulate_grad_hook(hook(name))  # type: ignore[no-untyped-call]
            stack.callback(handle.remove)
        for number, indices in enumerate(batches):
            targets = sum(int(examples[index].targets.sum()) for index in indices)
            cuts = batching.cut(lengths, indices)
            unseen.update(parameters)
            for place, cut in enumerate(cuts):
                state["batch"], state["last"] = number, place == len(cuts) - 1
                micro = batching.lay_out([examples[index] for index in cut], device)
                target_loss(split, micro, targets).backward()  # type: ignore[no-untyped-call]
            for name in sorted(unseen):
                show(name, parameters[name])


def _as_before(parameter: Tensor, required: bool) -> None:
    parameter.requires_grad_(required)
    parameter.grad = None
