"""Logits where they are needed and nowhere else.

The output head of a language model is its largest matrix product, and most positions are never scored. The hidden
states are gathered in a pre-hook of the head, so the model's own forward still applies what it does after it
(soft-capping, scaling). `split_at_head` gives hidden states and head apart, for those who take the logits in pieces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

LOGIT_ELEMENTS = 2**28
"""Number of logits worth holding at once: 1 GiB in float32."""


@contextmanager
def logits_at(model: nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Within this context the model's forward returns `logits` of shape [len(positions), vocabulary].

    Args:
        model: A Hugging Face causal language model, or a PEFT model around one.
        positions: Indices into the flattened [batch * length] token positions, shape [n], on the model's device;
            in the order wanted, repeats allowed.

    Example:
        rows, columns = torch.nonzero(labels[:, 1:] != -100, as_tuple=True)
        with logits_at(model, rows * labels.shape[1] + columns):
            logits = model(input_ids=ids, use_cache=False).logits
        loss = cross_entropy(logits, labels[:, 1:][rows, columns])
    """

    def gather(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = inputs[0]
        return (hidden.reshape(-1, hidden.shape[-1]).index_select(0, positions), *inputs[1:])

    head: nn.Module = model.get_output_embeddings()  # type: ignore[operator]  # every Hugging Face model has it
    handle = head.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def split_at_head(
    model: PreTrainedModel, inputs: Mapping[str, Any], positions: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Run the body of a model; the head can then be run on some positions at a time.

    Args:
        model: A Hugging Face causal language model.
        inputs: Keyword arguments of its forward.
        positions: As for `logits_at`.

    Returns:
        Hidden states at `positions`, [n, hidden size], and a function that gives the logits, [m, vocabulary], of m of
        them: whatever the model's own forward does after its body.
    """
    body = model.base_model
    passed: list[Any] = []
    handle = body.register_forward_hook(lambda module, args, output: passed.append(output))
    try:
        with logits_at(model, positions[:0]):
            model(**inputs, use_cache=False)
    finally:
        handle.remove()
    (outputs,) = passed

    def logits(hidden: Tensor) -> Tensor:
        given = dataclasses.replace(outputs, last_hidden_state=hidden[None])
        body.forward = lambda *args, **kwargs: given
        try:
            # Not called as a module: hooks around the whole model have run once already.
            found: Tensor = model.forward(use_cache=False).logits
        finally:
            del body.forward
        return found[0]

    return outputs.last_hidden_state.flatten(0, -2).index_select(0, positions), logits
