"""Rows of a key-value cache that are continued token by token: all from beginning to end, or each in a slot in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Self, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from layersig.fast import masks
from layersig.fast.decoder import Decoder
from layersig.fast.trunk import Trunk

_SPARE = 64
"""Columns that are allocated beyond what is needed, at least."""


class Rows:
    """Rows that begin together: left-padded prompts behind an optional trunk, and what has been written since.

    Attributes:
        tokens: Real tokens that the prompts took.
        logits: Of the next token of each row, shape [rows, vocabulary].
        cache: Keys and values, [rows, heads, columns, size] in each layer.
        real: Which columns hold a token of the row, [rows, columns].
        depths: Its position there, [rows, columns].
    """

    def __init__(self, decoder: Decoder, trunk: Trunk | None, prompts: Sequence[Sequence[int]]) -> None:
        self._decoder = decoder
        behind = trunk.length if trunk else 0
        width, device = max(map(len, prompts)), decoder.device
        padded = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        real = torch.tensor([[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts]).to(device)
        depths = behind + (real.cumsum(1) - 1).clamp(min=0)
        rows = len(prompts)
        self.cache = trunk.copies(rows) if trunk else decoder.empty_cache()
        self.real = torch.cat([torch.ones(rows, behind, dtype=torch.bool, device=device), real], dim=1)
        self.depths = masks.key_depths(depths, behind)
        self.tokens = sum(map(len, prompts)) + behind
        allowed = torch.ones(width, behind + width, dtype=torch.bool, device=device).tril(behind) & self.real[:, None]
        allowed[:, :, behind:] |= torch.eye(width, dtype=torch.bool, device=device)
        self.logits = self._run(padded, depths, allowed)

    def state(self) -> dict[str, Tensor] | None:
        """What `restored` makes the same rows of; None of a cache of the model's own kind, or on several devices."""
        if self._decoder.spread or {type(layer) for layer in self.cache.layers} != {DynamicLayer}:
            return None
        return {"real": self.real, "depths": self.depths, "logits": self.logits, **_states(self.cache.layers)}

    @classmethod
    def restored(cls, decoder: Decoder, state: Mapping[str, Tensor]) -> Self:
        """The rows of a `state`."""
        rows = cls.__new__(cls)
        rows._decoder = decoder
        rows.cache = DynamicCache(_pairs(state))
        rows.real, rows.depths, rows.logits = state["real"], state["depths"], state["logits"]
        rows.tokens = 0
        return rows

    def step(self, keep: Sequence[int], tokens: Sequence[int]) -> None:
        """Drop the other rows, and run one more token of each row that is kept."""
        if len(keep) < self.real.shape[0]:
            kept = torch.tensor(keep, device=self._decoder.device)
            # Indices on the CPU hold for every device.
            self.cache.batch_select_indices(kept.cpu() if self._decoder.spread else kept)
            self.real, self.depths = self.real[kept], self.depths[kept]
        depths = self.depths[:, -1:] + 1
        self.real = torch.cat([self.real, torch.ones_like(self.real[:, :1])], dim=1)
        self.depths = torch.cat([self.depths, depths], dim=1)
        self.logits = self._run(torch.tensor(tokens)[:, None], depths, self.real[:, None])

    def _run(self, tokens: Tensor, depths: Tensor, allowed: Tensor) -> Tensor:
        inputs: dict[str, Any] = {"past_key_values": self.cache}
        if self._decoder.shares:
            inputs["position_ids"] = depths
            inputs["attention_mask"] = self._decoder.mask(allowed, depths, self.depths)
        elif self._decoder.pads:
            inputs |= self._decoder.padding(self.real, depths)
        last = torch.arange(tokens.shape[0]) * tokens.shape[1] + tokens.shape[1] - 1
        return self._decoder.forward(tokens, last, use_cache=True, **inputs)


class Slots:
    """Slots of a cache that is allocated in advance; a row that ends makes room for another one.

    All rows end in the same column, `end`, and begin wherever they must: a new row is written up to that column, and a
    step writes the next column of every slot in place. When the columns are used up, those that no row needs any more
    are dropped, and the rest moves to the front.

    Args:
        decoder: The model, which takes masks of ours.
        trunk: What all rows begin with.

    Attributes:
        live: The slots of the rows that are being continued, by name, in the order in which they came.
        lengths: Tokens by slot, 0 for a free one.
        end: The column in which all rows end.
    """

    def __init__(self, decoder: Decoder, trunk: Trunk | None) -> None:
        self._decoder, self._trunk = decoder, trunk
        self.live: dict[int, int] = {}
        self.lengths: list[int] = []
        self._layers: list[_SlotLayer] = []
        self._cache = DynamicCache()
        self.end = 0
        device = decoder.device
        self._real = torch.empty(0, 0, dtype=torch.bool, device=device)
        self._depths = torch.empty(0, 0, dtype=torch.long, device=device)

    def state(self) -> dict[str, Tensor] | None:
        """What `restore` needs besides `live`, `lengths` and `end`; None before the first row."""
        return {"real": self._real, "depths": self._depths, **_states(self._layers)} if self._layers else None

    def restore(
        self, state: Mapping[str, Tensor], live: Sequence[tuple[int, int]], lengths: Sequence[int], end: int
    ) -> None:
        """Be as the slots of a `state` were."""
        self.live, self.lengths, self.end = dict(live), list(lengths), end
        self._real, self._depths = state["real"], state["depths"]
        self._layers = [_SlotLayer(keys, values) for keys, values in _pairs(state)]
        self._cache.layers = list(self._layers)

    @property
    def behind(self) -> int:
        """Tokens of the trunk."""
        return self._trunk.length if self._trunk else 0

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths, default=0)

    def drop(self, rows: Sequence[int]) -> None:
        """Free the slots of these rows."""
        for row in rows:
            self.lengths[self.live.pop(row)] = 0

    def admit(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Run new rows up to here.

        Args:
            rows: Their names.
            prompts: Their tokens behind the trunk.

        Returns:
            Logits of the next token of each, [rows, vocabulary].
        """
        begun = Rows(self._decoder, self._trunk, prompts)
        columns = begun.real.shape[1]
        free = [slot for slot, length in enumerate(self.lengths) if length == 0]
        if len(free) < len(rows) or columns > self.end or not self._layers:
            self._lay_out(len(self.live) + len(rows), max(columns, self.width), begun.cache)
            free = [slot for slot, length in enumerate(self.lengths) if length == 0]
        slots = torch.tensor(free[: len(rows)], device=self._real.device)
        place = slice(self.end - columns, self.end)
        # Padding to the front, before the trunk as well, so that the last columns of a row are its tokens.
        order = begun.real.to(torch.int8).argsort(dim=1, stable=True)
        each = torch.arange(len(rows), device=slots.device)[:, None]
        self._real[slots] = False
        self._real[slots, place] = begun.real[each, order]
        self._depths[slots, place] = begun.depths[each, order]
        for layer, new in zip(self._layers, begun.cache.layers, strict=True):
            for own, states in ((layer.keys, new.keys), (layer.values, new.values)):
                own[slots, :, place] = cast(Tensor, states).transpose(1, 2)[each, order].transpose(1, 2)
        for row, slot, prompt in zip(rows, free, prompts, strict=False):
            self.live[row] = slot
            self.lengths[slot] = self.behind + len(prompt)
        return begun.logits

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Run one more token of every live row.

        Args:
            tokens: In the order of `live`.

        Returns:
            Logits of the next one, [rows, vocabulary].
        """
        if self.end == self._real.shape[1] or 2 * len(self.live) < len(self.lengths):
            self._lay_out(len(self.live), self.width)
        device, slots = self._decoder.device, list(self.live.values())
        run = torch.zeros(len(self.lengths), 1, dtype=torch.long)
        run[slots, 0] = torch.tensor(tokens)
        depths = torch.tensor(self.lengths, device=device)[:, None]
        self._real[:, self.end] = True
        self._depths[:, self.end] = depths[:, 0]
        for slot in slots:
            self.lengths[slot] += 1
        seen = slice(self.end + 1 - self.width, self.end + 1)
        for layer in self._layers:
            layer.next, layer.first = self.end, seen.start
        allowed, key_depths = self._real[:, None, seen], self._depths[:, seen]
        self.end += 1
        return self._decoder.forward(
            run,
            torch.tensor(slots),
            use_cache=True,
            past_key_values=self._cache,
            position_ids=depths,
            attention_mask=self._decoder.mask(allowed, depths, key_depths),
        )

    def _lay_out(self, count: int, width: int, like: DynamicCache | None = None) -> None:
        """Allocate `count` slots that end in column `width` and have room beyond it; move the live rows there."""
        columns = width + max(_SPARE, width // 4)
        kept = torch.tensor(list(self.live.values()), dtype=torch.long, device=self._real.device)
        old = slice(self.end - self.width, self.end)
        new = slice(width - self.width, width)

        def moved(tensor: Tensor, axis: int) -> Tensor:
            shape = list(tensor.shape)
            shape[0], shape[axis] = count, columns
            # Zeros, since a masked entry is multiplied by 0, and what is left in memory may be NaN.
            found = tensor.new_zeros(shape)
            found.narrow(axis, new.start, self.width)[: len(kept)] = tensor.narrow(axis, old.start, self.width)[kept]
            return found

        if not self._layers:
            assert like is not None
            self._layers = [_SlotLayer(cast(Tensor, each.keys), cast(Tensor, each.values)) for each in like.layers]
            self._cache.layers = list(self._layers)
        for layer in self._layers:
            layer.keys, layer.values = moved(layer.keys, 2), moved(layer.values, 2)
        self._real, self._depths = moved(self._real, 1), moved(self._depths, 1)
        lengths = [self.lengths[slot] for slot in self.live.values()]
        self.live = {row: number for number, row in enumerate(self.live)}
        self.lengths = lengths + [0] * (count - len(lengths))
        self.end = width


class _SlotLayer(DynamicLayer):  # type: ignore[misc]  # untyped in transformers
    """Keys and values of one layer, written in place.

    Attributes:
        next: The column that comes next.
        first: The first column that any row needs.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self.next = self.first = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one column, and give all that are needed."""
        self.keys[:, :, self.next] = key_states[:, :, 0]
        self.values[:, :, self.next] = value_states[:, :, 0]
        seen = slice(self.first, self.next + 1)
        return self.keys[:, :, seen], self.values[:, :, seen]

    def get_seq_length(self) -> int:
        """Columns in front of the next one that are needed."""
        return self.next - self.first


def _states(layers: Sequence[DynamicLayer]) -> dict[str, Tensor]:
    """Keys and values of every layer, by name."""
    return {
        f"{number}/{name}": cast(Tensor, getattr(layer, name))
        for number, layer in enumerate(layers)
        for name in ("keys", "values")
    }


def _pairs(state: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values of every layer, from what `_states` gave."""
    for number in count():
        if f"{number}/keys" not in state:
            return
        yield state[f"{number}/keys"], state[f"{number}/values"]
