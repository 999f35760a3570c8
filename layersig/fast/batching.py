"""How examples go through the model: batches cut into micro-batches, and their tokens laid out in rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from layersig.data.batches import collate, tight_slices
from layersig.data.examples import Example
from layersig.fast import packing
from layersig.fast.layout import Layout, Segment
from layersig.fast.numerics import LANES, PACKED_ATTENTION
from layersig.fast.workers import Lanes, lanes, lanes_for
from layersig.models.devices import sent
from layersig.stages.notes import note

# By how much lanes of equal work are faster than one micro-batch on all threads, as measured with two threads.
_GAIN = 1.15


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatch:
    """Some examples of an optimizer batch, ready for the model.

    Attributes:
        inputs: Keyword arguments of the model's forward.
        positions: Flat positions whose logits predict a target, int64 [n].
        labels: The targets, int64 [n].
        layouts: Which example each row belongs to, for inputs of layers in the body and of the output head.
    """

    inputs: dict[str, Any]
    positions: Tensor
    labels: Tensor
    layouts: tuple[Layout, Layout]


class Batching(Protocol):
    """A way to put examples through a model."""

    @property
    def numerics(self) -> str:
        """Name of the arithmetic."""

    @property
    def lanes(self) -> Lanes:
        """Run micro-batches."""

    def cut(self, lengths: Sequence[int], indices: Sequence[int]) -> list[list[int]]:
        """Split an optimizer batch, given by index, into micro-batches."""

    def lay_out(self, examples: Sequence[Example], device: torch.device) -> MicroBatch:
        """The tensors of a micro-batch."""


@dataclass(frozen=True, slots=True)
class PaddedBatching:
    """Examples of similar length side by side, padded on the right, without an attention mask.

    In a causal model no position sees a later one, sliding windows included, so the padding behind an example changes
    nothing before it; nor is anything read off at padded positions.
    """

    token_budget: int
    lanes: Lanes = field(default_factory=Lanes)
    numerics: str = "padded"

    def cut(self, lengths: Sequence[int], indices: Sequence[int]) -> list[list[int]]:
        """Slices of similar length within the budget of padded tokens."""
        return tight_slices(lengths, indices, self.token_budget)

    def lay_out(self, examples: Sequence[Example], device: torch.device) -> MicroBatch:
        """One row of tokens an example."""
        batch = collate(examples)
        count, length = batch.tokens.shape
        rows, columns = torch.nonzero(batch.targets[:, 1:], as_tuple=True)
        body = Layout(count * length, [Segment(each.id, i * length, len(each)) for i, each in enumerate(examples)])
        return MicroBatch(
            {"input_ids": sent(batch.tokens, device)},
            sent(rows * length + columns, device),
            sent(batch.tokens[rows, columns + 1], device),
            (body, _target_layout(examples)),
        )


@dataclass(frozen=True, slots=True)
class PackedBatching:
    """Examples end to end in one row, without padding (`layersig.fast.packing`)."""

    token_budget: int
    lanes: Lanes = field(default_factory=Lanes)

    @property
    def numerics(self) -> str:
        """Name of the arithmetic."""
        return f"{PACKED_ATTENTION}+{LANES}" if self.lanes.count > 1 else PACKED_ATTENTION

    def cut(self, lengths: Sequence[int], indices: Sequence[int]) -> list[list[int]]:
        """As few micro-batches as the token budget allows, the same number for every lane.

        Examples are assigned longest first, each to the micro-batch with the fewest tokens. A batch that cannot be
        split evenly stays in one piece if the budget allows it, since one lane would wait for the other.
        """
        order = sorted(indices, key=lambda index: (-lengths[index], index))
        total = sum(lengths[index] for index in order)
        count = self.lanes.count
        while True:
            cuts: list[list[int]] = [[] for _ in range(count)]
            sizes = [0] * count
            for index in order:
                least = sizes.index(min(sizes))
                cuts[least].append(index)
                sizes[least] += lengths[index]
            if total <= self.token_budget and max(sizes) * count > _GAIN * total:
                return [order]
            if all(
                size * self.lanes.count <= self.token_budget for size, cut in zip(sizes, cuts, strict=True) if cut[1:]
            ):
                return [cut for cut in cuts if cut]
            count += self.lanes.count

    def lay_out(self, examples: Sequence[Example], device: torch.device) -> MicroBatch:
        """All examples in one row."""
        starts = list(accumulate((len(each) for each in examples), initial=0))
        tokens = [torch.from_numpy(each.tokens.astype(np.int64)) for each in examples]
        labelled = torch.from_numpy(np.flatnonzero(np.concatenate([each.targets for each in examples])))
        segments = [Segment(each.id, start, len(each)) for each, start in zip(examples, starts, strict=False)]
        return MicroBatch(
            packing.packed_inputs(tokens, device),
            sent(labelled - 1, device),
            sent(torch.cat(tokens)[labelled], device),
            (Layout(starts[-1], segments), _target_layout(examples)),
        )


@contextmanager
def batching_of(
    model: PreTrainedModel, token_budget: int, longest: int, *, side_by_side: bool = False, fast: bool = True
) -> Iterator[Batching]:
    """The fastest layout under which the model computes the same: packed if possible, else padded.

    Args:
        model: A causal language model, as it will be run.
        token_budget: Tokens of a micro-batch, or of those that are run side by side.
        longest: Tokens of the longest example.
        side_by_side: Whether micro-batches may run in several lanes.
        fast: Whether examples may be packed.
    """
    why = packing.why_padded(model, longest) if fast else None
    if fast and why is None:
        with packing.packed(model), lanes(lanes_for(model) if side_by_side else 1) as own:
            yield PackedBatching(token_budget, own)
    else:
        if why is not None:
            note(f"{type(model).__name__} takes examples padded, not end to end: {why}")
        yield PaddedBatching(token_budget)


def _target_layout(examples: Sequence[Example]) -> Layout:
    segments, start = [], 0
    for example in examples:
        count = int(example.targets.sum())
        segments.append(Segment(example.id, start, count))
        start += count
    return Layout(start, segments)
