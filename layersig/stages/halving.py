"""What is done when memory runs out: the pass is run again in smaller pieces, which the stage remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from layersig.errors import is_out_of_memory
from layersig.stages.sizes import halve, halved

Item = TypeVar("Item")
Result = TypeVar("Result")

_undivided: list[bool] = []


@contextmanager
def undivided() -> Iterator[None]:
    """Within this context nothing is run again in smaller pieces.

    It is for a model of which other processes hold a part: all must pass through it equally often.
    """
    _undivided.append(True)
    try:
        yield
    finally:
        _undivided.pop()


class Halving(Generic[Item]):
    """Runs batches, and in halves those for which memory does not suffice; the smaller size is then kept.

    What is run must be the sum of its pieces, or a list of what they give, so that its result changes by rounding only.

    Args:
        what: Name of what is run, by which the stage remembers the smaller size.
        tokens: Tokens that a batch takes, padding included.
        free: Gives back memory that nothing refers to.

    Attributes:
        limit: Largest number of tokens of a batch that can be divided; None until memory has run out.
    """

    def __init__(self, what: str, tokens: Callable[[Sequence[Item]], int], free: Callable[[], object]) -> None:
        self.limit = halved(what)
        self._what, self._tokens, self._free = what, tokens, free

    def pieces(self, batch: Sequence[Item]) -> list[Sequence[Item]]:
        """The batch, divided until every piece keeps the limit or is a single item."""
        if self.limit is None or len(batch) < 2 or self._tokens(batch) <= self.limit:
            return [batch]
        half = len(batch) // 2
        return [*self.pieces(batch[:half]), *self.pieces(batch[half:])]

    def run(self, work: Callable[[Sequence[Item]], Result], batch: Sequence[Item]) -> list[Result]:
        """Results of `work` for the pieces of a batch, in their order.

        Raises:
            Exception: What `work` raised, where it was not for want of memory, or for a single item.
        """
        found = []
        left = deque(self.pieces(batch))
        while left:
            piece = left.popleft()
            try:
                found.append(work(piece))
                continue
            except Exception as error:
                if len(piece) < 2 or _undivided or not is_out_of_memory(error):
                    raise
            # Here, and not in the handler, nothing refers to the tensors of the failed pass any more.
            self._halve(self._tokens(piece))
            left.extendleft(reversed(self.pieces(piece)))
        return found

    def together(self, work: Callable[[list[Sequence[Item]]], Result], batches: Sequence[Sequence[Item]]) -> Result:
        """Result of `work` for the pieces of all batches; it begins again with smaller ones when memory runs out.

        Raises:
            Exception: As `run`.
        """
        while True:
            pieces = [piece for batch in batches for piece in self.pieces(batch)]
            largest = max((self._tokens(piece) for piece in pieces if len(piece) > 1), default=0)
            try:
                return work(pieces)
            except Exception as error:
                if not largest or _undivided or not is_out_of_memory(error):
                    raise
            self._halve(largest)

    def _halve(self, tokens: int) -> None:
        self.limit = tokens // 2
        self._free()
        halve(self._what, self.limit)
