"""Logits where they are needed and nowhere else.

The output head of a language model is its largest matrix product, and most positions are never scored. The hidden
states are gathered in a pre-hook of the head, so the model's own forward still applies what it does after it
(soft-capping, scaling).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

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
