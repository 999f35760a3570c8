"""Attention of examples that lie end to end in one row, by torch's variable-length flash attention on a GPU.

Nothing is padded, and sliding windows are the kernel's own. The kernel takes half-precision types alone; where torch
does not have it, examples are padded. The kernel of torch 2.11 has no grouped-query option, so keys and values that
heads share are repeated for it.

Plain twin: the model's own attention on padded examples.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
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


@cache
def _arguments(kernel: Callable[..., Tensor]) -> frozenset[str]:
    return frozenset(inspect.signature(kernel).parameters)


def runs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this torch has the kernel, with windows, for tensors of a type on a device."""
    if varlen_attn is None or device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    return _arguments(varlen_attn) >= {"scale", "window_size"}  # torch 2.11 or later


def attention(
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
    """Attention over `packed_inputs`, with the signature of an attention function of transformers.

    Args:
        module: The layer.
        query: [1, heads, tokens, width].
        key: [1, key-value heads, tokens, width].
        value: As `key`.
        attention_mask: None.
        scaling: Factor of the scores; None stands for 1 / sqrt(width).
        sliding_window: Tokens that a query sees, itself included; None: all before it.
        example_bounds: Where examples begin, and the end of the last.
        example_starts: The same as int32 on the device.
        kwargs: What else the model asks for.

    Returns:
        [1, tokens, heads, width], and no weights.

    Raises:
        NotImplementedError: The model asks for what the kernel does not compute.
    """
    if not getattr(module, "is_causal", True):
        raise NotImplementedError("packed attention is causal")
    assert varlen_attn is not None, "see `runs`"
    scale = scale_of(query, scaling, kwargs)
    longest = max(end - start for start, end in pairwise(example_bounds))
    # A window in transformers counts the query itself; the kernel counts the keys before it. (-1, 0) is causal.
    before = -1 if sliding_window is None or sliding_window >= longest else sliding_window - 1
    queries, keys, values = (each[0].transpose(0, 1) for each in (query, key, value))
    groups = queries.shape[1] // keys.shape[1]
    grouped = groups > 1 and "enable_gqa" in _arguments(varlen_attn)  # torch 2.12 or later
    if groups > 1 and not grouped:
        keys, values = (each[:, :, None].expand(-1, -1, groups, -1).flatten(1, 2) for each in (keys, values))
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
        **({"enable_gqa": True} if grouped else {}),
    )
    return output[None], None


register(NAME, attention)
