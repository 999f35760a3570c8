"""What a scorer did before it was interrupted, and what it has cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from layersig.scoring.inputs import Inputs
from layersig.store.journal import Journal

if TYPE_CHECKING:
    from layersig.data.pairs import Items
    from layersig.training.checkpoint import Memory

Piece = TypeVar("Piece")
Value = TypeVar("Value")


class Resumable(Inputs):
    """A scorer's context in which finished work outlives an interruption, and costs are counted."""

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self._job.work / "passes.jsonl")

    @cached_property
    def _numbers(self) -> Iterator[int]:
        return count()

    def _place(self, name: str) -> Path:
        """Where the next thing that keeps its state in a file of its own has it, the same in every process."""
        return self._job.work / f"{name}-{next(self._numbers)}"

    def once(self, piece: str, work: Callable[[], Value]) -> Value:
        """What a piece of work gives: `work()`, or what that gave before an interruption.

        For work that takes long, besides the passes of the model. Pieces are known by their order, which must be the
        same in every process.

        Args:
            piece: Its name.
            work: Gives a JSON value.
        """
        return self._journal.once(piece, work)

    def in_passes(self, name: str, memory: Memory, pieces: Sequence[Piece], work: Callable[[int, Piece], None]) -> None:
        """Do `work` for one piece after the other, where tensors add up that are too large for `once`.

        What `memory` holds is saved from time to time, and an interrupted loop continues with it.

        Args:
            name: What the file is called.
            memory: All that `work` changes.
            pieces: What there is to do.
            work: Does one, given its number and itself.
        """
        from layersig.training.passes import in_passes

        in_passes(self._place(name), memory, pieces, work, self.device)

    @contextmanager
    def counted(self, batches: Sequence[Sequence[int]], items: Items | None = None) -> Iterator[None]:
        """Add to the cost what one pass over the batches takes: of `examples`, or of other items."""
        from layersig.models.devices import peak_memory

        with peak_memory(self.device) as memory:
            yield
        self._count(tokens_of(self.examples if items is None else items, batches), memory.peak)

    def _count(self, tokens: int, peak_memory: int) -> None:
        cost = self._job.cost
        cost["tokens"] = cost.get("tokens", 0) + tokens
        cost["peak_memory"] = max(cost.get("peak_memory", 0), peak_memory)


def tokens_of(items: Items, batches: Sequence[Sequence[int]]) -> int:
    """Tokens of all items in batches."""
    lengths = items.lengths
    return sum(int(lengths[list(indices)].sum()) for indices in batches)
