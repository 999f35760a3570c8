"""Shared beginnings: keys and values that are computed once, for many sequences."""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class Trunk:
    """Cached keys and values of a shared beginning.

    Attributes:
        length: Its tokens.
    """

    def __init__(self, cache: DynamicCache, length: int) -> None:
        self.length = length
        self._states = [(cast(torch.Tensor, layer.keys), cast(torch.Tensor, layer.values)) for layer in cache.layers]

    def shared(self) -> DynamicCache:
        """A cache to read from in one forward pass: every row sees the trunk, nothing is kept."""
        cache = DynamicCache()
        cache.layers = [_SharedLayer(keys, values) for keys, values in self._states]
        return cache

    def copies(self, rows: int) -> DynamicCache:
        """A cache to generate with: the trunk once for each row."""
        return DynamicCache(
            [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in self._states]
        )


class _SharedLayer(DynamicLayer):  # type: ignore[misc]  # untyped in transformers
    """Puts the trunk before each row's keys and values and forgets them again: one layer's copy lives at a time."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of trunk and row."""
        rows = key_states.shape[0]
        return (
            torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2),
            torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2),
        )
