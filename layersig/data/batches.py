"""Which examples make an optimizer step, how a step is cut to fit memory, and the tensors of a cut.

The optimizer batch is the unit of meaning: a seeded list of examples that knows neither the number of processes nor the
token budget. Micro-batches only cut it.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from layersig.data.examples import Example
from layersig.streams import Streams

if TYPE_CHECKING:
    import torch

SLICE_OVERHEAD = 256
"""What a slice of an optimizer batch costs beside its padded tokens, in tokens."""


def step_count(count: int, *, batch_size: int, epochs: float | None = None, steps: int | None = None) -> int:
    """Optimizer steps of a training over `count` examples; exactly one of `epochs` and `steps` is given.

    Raises:
        ValueError: Both or neither of `epochs` and `steps` are given, or there is no example.
    """
    return -(-_draws(count, batch_size, epochs, steps) // batch_size)


def optimizer_batches(
    examples: Sized, *, batch_size: int, epochs: float | None = None, steps: int | None = None, streams: Streams
) -> list[tuple[int, ...]]:
    """The examples of every optimizer step, by index.

    Each epoch is a permutation of all examples from the stream ("data-order", epoch). Epochs follow each other without
    a gap, so a batch may span two of them and only the very last may be short. `steps` goes on through as many epochs
    as it takes; a fractional `epochs` draws round(epochs * len(examples)) examples, at least one.

    Raises:
        ValueError: Both or neither of `epochs` and `steps` are given, or there is no example.
    """
    count = len(examples)
    draws = _draws(count, batch_size, epochs, steps)
    passes = -(-draws // count)
    order = np.concatenate([streams.generator("data-order", epoch).permutation(count) for epoch in range(passes)])
    drawn: list[int] = order[:draws].tolist()
    return [tuple(drawn[start : start + batch_size]) for start in range(0, draws, batch_size)]


def _draws(count: int, batch_size: int, epochs: float | None, steps: int | None) -> int:
    if count < 1:
        raise ValueError("no example to draw from")
    if epochs is not None and steps is None:
        return max(1, round(epochs * count))
    if steps is not None and epochs is None:
        return steps * batch_size
    raise ValueError("give exactly one of `epochs` and `steps`")


def micro_batches(
    lengths: Sequence[int] | NDArray[np.int64], indices: Sequence[int], token_budget: int
) -> list[list[int]]:
    """Cut an optimizer batch into slices of similar length whose padded size fits the budget.

    Args:
        lengths: Tokens of every example of the split.
        indices: The examples of the optimizer batch, by index.
        token_budget: Largest (examples in the slice) x (longest of them); an example longer than that goes alone.

    Returns:
        The slices, the longest examples first, so that memory runs out at once if it must.
    """
    ordered = sorted(indices, key=lambda index: (-int(lengths[index]), index))
    slices: list[list[int]] = []
    start = 0
    while start < len(ordered):
        room = max(1, token_budget // max(1, int(lengths[ordered[start]])))
        slices.append(ordered[start : start + room])
        start += room
    return slices


def tight_slices(
    lengths: Sequence[int] | NDArray[np.int64],
    indices: Sequence[int],
    token_budget: int,
    overhead: int = SLICE_OVERHEAD,
) -> list[list[int]]:
    """As `micro_batches`, but cut where it costs least: the sum of padded tokens and of `overhead` for every slice.

    An optimizer batch holds few examples of very different lengths, so full slices would be half padding. The best
    slices of examples in order of length are found by dynamic programming: the best cut of the first k examples is the
    best cut of the first j, for some j < k, and one more slice.

    Args:
        lengths: Tokens of every example of the split.
        indices: The examples of the optimizer batch, by index.
        token_budget: Largest (examples in the slice) x (longest of them); an example longer than that goes alone.
        overhead: What a slice costs beside its tokens, in tokens.

    Returns:
        The slices, the longest examples first.
    """
    ordered = sorted(indices, key=lambda index: (-int(lengths[index]), index))
    longest = [int(lengths[index]) for index in ordered]
    cost, start = [0], [0]
    for end in range(1, len(ordered) + 1):
        fitting = (
            (cost[first] + (end - first) * longest[first] + overhead, first)
            for first in range(end)
            if end - first == 1 or (end - first) * longest[first] <= token_budget
        )
        least, first = min(fitting)
        cost.append(least)
        start.append(first)
    slices: list[list[int]] = []
    end = len(ordered)
    while end:
        slices.append(ordered[start[end] : end])
        end = start[end]
    return slices[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Examples as right-padded tensors on the CPU.

    Attributes:
        tokens: int64 [B, T], padded with 0.
        targets: bool [B, T]; True where tokens[b, t] is to be predicted. False in the padding and at t = 0.
        lengths: int64 [B].
        ids: Ids of the examples.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    lengths: torch.Tensor
    ids: tuple[str, ...]


def collate(examples: Sequence[Example]) -> Batch:
    """The examples as one right-padded batch."""
    import torch

    lengths = np.array([len(example) for example in examples], np.int64)
    tokens = np.zeros((len(examples), int(lengths.max())), np.int64)
    targets = np.zeros(tokens.shape, np.bool_)
    for row, example in enumerate(examples):
        tokens[row, : len(example)] = example.tokens
        targets[row, : len(example)] = example.targets
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(targets),
        torch.from_numpy(lengths),
        tuple(example.id for example in examples),
    )
