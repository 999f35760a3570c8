"""Attention of examples that lie end to end in one row, by torch's variable-length flash attention on a GPU.

Nothing is padded, and sliding windows are the kernel's own. The kernel takes half-precision types alone; where torch
does not have it, examples are padded.

Plain twin: the model's own attention on padded examples.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from layersig.fast.attention import register, scale_of

varlen_attn: Callable[..., Tensor] | None
try:
    varlen_attn = import_module("torch.nn.attention.varlen").varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None

NAME = "layersig_varlen"
"""Under which transformers knows it."""
_ARGUMENTS = {"scale", "window_size", "enable_gqa"}  # torch 2.12 has them all


def runs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this torch has the kernel for tensors of a type on a device."""
    if varlen_attn is None or device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    return inspect.signature(varlen_attn).parameters.keys() >= _ARGUMENTS


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    example_bounds: Sequence[int] = (),
    example_starts: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if not getattr(module, "is_causal", True):
        raise NotImplementedError("packed attention is causal")
    assert varlen_attn is not None, "see `runs`"
    scale = scale_of(query, scaling, kwargs)
    longest = max(end - start for start, end in pairwise(example_bounds))
    # A window in transformers counts the query itself; the kernel counts the keys before it. (-1, 0) is causal.
    before = -1 if sliding_window is None or sliding_window >= longest else sliding_window - 1
    queries, keys, values = (each[0].transpose(0, 1) for each in (query, key, value))
    output = varlen_attn(
        queries,
        keys,
        values,
        example_starts,
        example_starts,
        longest,
        longest,
        scale=scale,
        window_size=(before, 0),
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    return output[None], None


register(NAME, _attention)
