"""Attention for models on the meta device, which keeps and allocates what a flash kernel does: no scores.

torch's own scaled-dot-product attention falls back to plain products there, whose scores no GPU would hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, PreTrainedModel

from layersig.fast.attention import attending

_NAME = "layersig_meta"


class _Flash(torch.autograd.Function):
    """The tensors of flash attention (Dao, arXiv 2307.08691), without values.

    Forward: the output and the logarithm of each row's sum are kept, next to query, key and value. Backward: gradients
    of the three, and that of the query once more in float32, where the kernel sums it up.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        logs = torch.empty(query.shape[:-1], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, output, logs)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        sums = torch.empty_like(query, dtype=torch.float32)
        return sums.to(query.dtype), torch.empty_like(key), torch.empty_like(value)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    return _Flash.apply(query, key, value).transpose(1, 2), None  # type: ignore[no-untyped-call]


# Without a mask of that name transformers makes none, nor looks at the values of positions.
AttentionInterface.register(_NAME, _attention)


@contextmanager
def meta_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within this context a model on the meta device has the attention of a GPU; nothing changes where it cannot."""
    if not model._supports_attention_backend:
        yield
        return
    with attending(model, _NAME):
        yield
