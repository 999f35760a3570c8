"""Keeps the hidden states in front of the lowest trained block, so that each example goes through the frozen ones once.

Nothing below the lowest trained block changes during a training, and nothing there is random (a model's own dropouts
are off), so later epochs need not compute it again. Memory: tokens of the training split x hidden size.

A pass is steered by replacing the forwards of the lower blocks. The model's own forward still runs around them, so
embedding, masks, positions and caches stay its business. In a replayed pass the blocks below return their input
unchanged, and the lowest trained block swaps its input for the kept states. A pass whose only purpose is to fill gaps
after an interruption is cut short at that block: since its forward is called from deep inside the model's own, the only
way out is an exception, `_Reached`, which `_recall` catches.

Plain twin: the same training without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.data.pairs import Items
from layersig.errors import UserError
from layersig.fast.batching import Batching, MicroBatch
from layersig.fast.layout import Segment
from layersig.fast.profile import LARGEST_PREFIX
from layersig.fast.workers import PerThread
from layersig.models.layermap import block_list
from layersig.models.replaced_forwards import replaced_forwards


class _Reached(Exception):  # a signal, not an error
    """A pass that only fills the prefix has reached the lowest trained block."""


class _Pass(NamedTuple):
    """What a thread is running."""

    step: int = 0
    cut: tuple[int, ...] = ()
    micro: MicroBatch | None = None
    replayed: bool = False
    only_prefix: bool = False


_NOTHING = _Pass()


class Prefix:
    """Runs a model's frozen lower blocks once an example.

    Which passes compute the prefix depends on the schedule alone: those in which an example comes up for the first
    time. A training that was interrupted computes what it has forgotten in the very composition of that first pass, so
    that it resumes bit for bit.
    """

    def __init__(self, model: PreTrainedModel, blocks: Sequence[nn.Module], lowest: int) -> None:
        self._model = model
        self._blocks, self._lowest = blocks, lowest
        self._kept: dict[str, Tensor] = {}
        self._first: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._lay_out: Callable[[Sequence[int]], MicroBatch] | None = None
        self._passing = PerThread(_NOTHING)

    def plan(self, cuts: Iterable[tuple[int, Sequence[int]]], lay_out: Callable[[Sequence[int]], MicroBatch]) -> None:
        """Say in which step and micro-batch, given by index, examples will come up; forget what was kept."""
        self._kept.clear()
        self._first.clear()
        self._lay_out = lay_out
        for step, cut in cuts:
            for index in cut:
                self._first.setdefault(index, (step, tuple(cut)))

    def replan(self, pieces: Callable[[Sequence[int]], Sequence[Sequence[int]]]) -> None:
        """Divide the planned micro-batches, since memory does not suffice for them; what was kept stays."""
        for step, cut in set(self._first.values()):
            for piece in pieces(cut):
                for index in piece:
                    if self._first[index] == (step, cut):
                        self._first[index] = (step, tuple(piece))

    @contextmanager
    def passing(self, step: int, cut: Sequence[int], micro: MicroBatch) -> Iterator[None]:
        """Within this context `micro`, the examples of `cut` in that step, goes through the model."""
        new = any(self._first[index][0] == step for index in cut)
        if not new:
            self._recall(cut, micro)
        with self._running(_Pass(step, tuple(cut), micro, replayed=not new)):
            yield

    @contextmanager
    def _running(self, passing: _Pass) -> Iterator[None]:
        self._passing.value = passing
        try:
            yield
        finally:
            self._passing.value = _NOTHING

    def _recall(self, cut: Sequence[int], micro: MicroBatch) -> None:
        assert self._lay_out is not None
        for index, segment in _by_item(cut, micro):
            if segment.example not in self._kept:
                step, first = self._first[index]
                earlier = self._lay_out(first)
                with (
                    suppress(_Reached),
                    self._running(_Pass(step, first, earlier, only_prefix=True)),
                    torch.no_grad(),
                ):
                    self._model(**earlier.inputs, use_cache=False)

    def run(self, index: int, forward: Callable[..., Any], hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Forward of the block of that number, in place of its own."""
        passing = self._passing.value
        if index < self._lowest:
            return hidden if passing.replayed else forward(hidden, *args, **kwargs)
        if passing.replayed and passing.micro is not None:
            hidden = self._recalled(hidden, passing.micro)
        elif passing.micro is not None:
            self._keep(passing, hidden)
            if passing.only_prefix:
                raise _Reached
        return forward(hidden, *args, **kwargs)

    def _keep(self, passing: _Pass, hidden: Tensor) -> None:
        assert passing.micro is not None
        rows = hidden.detach().flatten(0, -2)
        for index, segment in _by_item(passing.cut, passing.micro):
            # An example may occur twice in a step, in two lanes; what is kept must not depend on which one is faster.
            if self._first[index] == (passing.step, passing.cut) and segment.example not in self._kept:
                self._kept[segment.example] = rows[segment.start : segment.start + segment.rows].clone()

    def _recalled(self, like: Tensor, micro: MicroBatch) -> Tensor:
        hidden = torch.zeros_like(like)
        rows = hidden.view(-1, hidden.shape[-1])
        for segment in micro.layouts[0].segments:
            rows[segment.start : segment.start + segment.rows] = self._kept[segment.example]
        return hidden


@contextmanager
def kept_prefix(
    model: PreTrainedModel,
    trained: Mapping[str, Tensor],
    examples: Items,
    batches: Sequence[Sequence[int]],
    batching: Batching,
) -> Iterator[Prefix | None]:
    """Within this context the lower blocks of `model` run through a `Prefix`; None where that would not pay or hold.

    It pays when examples come up more than once, the lowest trained block is not the first one, and what is kept fits
    into 2 GiB. That it holds is tried out on one example.
    """
    try:
        blocks = list(block_list(model)[1])
    except UserError:
        yield None
        return
    lowest = _lowest(blocks, trained)
    drawn = {index for indices in batches for index in indices}
    lengths: list[int] = examples.lengths.tolist()
    size = sum(lengths[index] for index in drawn) * model.config.get_text_config().hidden_size * model.dtype.itemsize
    if not lowest or len(drawn) < 2 or sum(map(len, batches)) == len(drawn) or size > LARGEST_PREFIX:
        yield None
        return
    prefix = Prefix(model, blocks, lowest)
    lower = enumerate(blocks[: lowest + 1])
    with replaced_forwards({block: partial(prefix.run, index, block.forward) for index, block in lower}):

        def lay_out(cut: Sequence[int]) -> MicroBatch:
            return batching.lay_out(examples.sequences(cut), model.device)

        shortest = sorted(drawn, key=lambda index: (lengths[index], index))[:2]
        footprints: list[int] = examples.footprints.tolist()
        holds = _holds(prefix, model, shortest, lay_out)
        steps = enumerate(batches, start=1)
        prefix.plan(((step, cut) for step, indices in steps for cut in batching.cut(footprints, indices)), lay_out)
        yield prefix if holds else None


def _by_item(cut: Sequence[int], micro: MicroBatch) -> Iterator[tuple[int, Segment]]:
    """The rows of every sequence of a micro-batch, with the item that the sequence belongs to."""
    segments = micro.layouts[0].segments
    each = len(segments) // len(cut)
    return zip((index for index in cut for _ in range(each)), segments, strict=True)


def _lowest(blocks: Sequence[nn.Module], trained: Mapping[str, Tensor]) -> int:
    """Number of the lowest block with a trained parameter; 0 where a parameter lies outside of the blocks."""
    owner = {id(each): number for number, block in enumerate(blocks) for each in block.parameters()}
    return min((owner.get(id(parameter), 0) for parameter in trained.values()), default=0)


def _holds(
    prefix: Prefix, model: PreTrainedModel, pair: Sequence[int], lay_out: Callable[[Sequence[int]], MicroBatch]
) -> bool:
    """Whether an example gives the same logits when its prefix comes from a pass together with another one."""
    micro = lay_out(pair[:1])
    with torch.no_grad():
        plain = model(**micro.inputs, use_cache=False).logits
        prefix.plan([(0, pair)], lay_out)
        try:
            with prefix.passing(1, pair[:1], micro):
                through = model(**micro.inputs, use_cache=False).logits
        except (TypeError, ValueError, AttributeError, KeyError):
            return False
    rounding = (1e-3 if torch.finfo(plain.dtype).bits > 16 else 5e-2) * plain.norm()
    return through.shape == plain.shape and bool((through - plain).norm() < rounding)
