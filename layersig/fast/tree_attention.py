"""Attention of token trees that lie end to end in one row: no padding, and no product with a key that is masked.

On a CPU this is quicker than padded rows under one dense mask: every other layer works on real tokens only, and plain
matrix products of query heads stacked on the key head they share need no copy of keys and values for each of them.
Scores and probabilities are float32 or wider, as in torch's own kernel.

Plain twin: the model's own attention on padded rows, see `decoder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.fast.attention import attending, register, scale_of

_NAME = "layersig_trees"


class Tree(NamedTuple):
    """One tree of a row.

    Attributes:
        length: Its tokens.
        mask: Additive, shape [1, 1, tokens, trunk + tokens]; by kind of layer where some have a sliding window.
    """

    length: int
    mask: Tensor | Mapping[str, Tensor]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    trees: Sequence[Tree] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    heads, groups, behind = query.shape[1], key.shape[1], key.shape[2] - query.shape[2]
    scale = scale_of(query, scaling, kwargs)
    wide = torch.promote_types(query.dtype, torch.float32)
    kind = "full_attention" if sliding_window is None else "sliding_attention"
    output = value.new_empty(query.shape[2], heads, value.shape[-1])
    stop = 0
    for length, masks in trees:
        start, stop = stop, stop + length
        mask = masks[kind] if isinstance(masks, Mapping) else masks
        queries = query[0, :, start:stop].reshape(groups, -1, query.shape[-1])
        keys, values = (_seen(each, behind, start, stop) for each in (key, value))
        scores = torch.bmm(queries.to(wide).mul(scale), keys.to(wide).mT)
        scores.view(1, heads, length, -1).add_(mask)
        weights = torch.softmax(scores, -1).to(value.dtype)
        output[start:stop].transpose(0, 1).copy_(torch.bmm(weights, values).view(heads, length, -1))
    return output[None], None


def _seen(states: Tensor, behind: int, start: int, stop: int) -> Tensor:
    """Trunk and tree of [1, heads, trunk + row, size]."""
    own = states[0, :, behind + start : behind + stop]
    return torch.cat([states[0, :, :behind], own], dim=1) if behind else own


register(_NAME, _attention)


@contextmanager
def tree_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within this context the model's forward takes one row and `trees`, and nothing else."""
    with attending(model, _NAME):
        yield
