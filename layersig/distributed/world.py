"""The processes that run one stage together, as the code of that stage sees them.

All of them run the same code on the same values, so that they meet in the same calls. Whatever decides what is called
next must be the same in all of them: what only one can know, such as the time, is `broadcast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")
Part = TypeVar("Part")


class World:
    """The processes of a stage. This class is a single process; `Several` stands for more.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        sharded: Whether every process holds a part of the model, so that all must pass through it equally often.
    """

    rank: int = 0
    size: int = 1
    sharded: bool = False

    @property
    def first(self) -> bool:
        """Whether what this process writes is kept; what the others write is thrown away."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of the same device by their sums over all processes, in one exchange for every dtype."""

    def gather(self, value: Value) -> list[Value]:
        """The value of every process, in their order; it can be pickled."""
        return [value]

    def broadcast(self, value: Value) -> Value:
        """The value of the first process; it can be pickled."""
        return value

    def shared(
        self, parts: Sequence[Part], run: Callable[[Sequence[Part]], Iterable[Value]]
    ) -> Iterator[tuple[Part, Value, bool]]:
        """What `run` makes of parts; every process runs some of them, over a sharded model all.

        Args:
            parts: The same in every process.
            run: Gives one value a part, which can be pickled.

        Yields:
            A part, its value, and whether this process has run it, in the order of the parts.
        """
        for part, value in zip(parts, run(parts), strict=True):
            yield part, value, True

    def turns(self, count: int) -> list[range]:
        """Numbers from 0 in turns, in each of which every process has one, but for the last."""
        return [range(start, min(start + self.size, count)) for start in range(0, count, self.size)]

    def add_up(self, parts: Sequence[Part], tensors: Sequence[Tensor], work: Callable[[Part], None]) -> None:
        """Let `work` add something to tensors for every part; at the end they have the sums over all parts.

        Every process works on some of the parts, over a sharded model on all.

        Args:
            parts: The same in every process.
            tensors: Zeros at first, of the same shapes in every process.
            work: Adds what it finds for a part.
        """
        for part in parts:
            work(part)


class Several(World):
    """This process and others that run the same stage, over an existing process group of torch.

    Args:
        sharded: See `World`.
    """

    def __init__(self, *, sharded: bool = False) -> None:
        self.rank, self.size, self.sharded = dist.get_rank(), dist.get_world_size(), sharded

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """See `World`."""
        for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.all_reduce(flat)
            for tensor, total in zip(same, torch.split(flat, [tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def gather(self, value: Value) -> list[Value]:
        """See `World`."""
        found: list[Value] = [value] * self.size
        dist.all_gather_object(found, value)
        return found

    def broadcast(self, value: Value) -> Value:
        """See `World`."""
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def shared(
        self, parts: Sequence[Part], run: Callable[[Sequence[Part]], Iterable[Value]]
    ) -> Iterator[tuple[Part, Value, bool]]:
        """See `World`."""
        if self.sharded:
            yield from super().shared(parts, run)
            return
        values = iter(run(parts[self.rank :: self.size]))
        for start in range(0, len(parts), self.size):
            turn = parts[start : start + self.size]
            # In the last turn there may be no part for this process.
            found = self.gather(next(values) if self.rank < len(turn) else None)
            for rank, part in enumerate(turn):
                yield part, found[rank], rank == self.rank  # type: ignore[misc]

    def add_up(self, parts: Sequence[Part], tensors: Sequence[Tensor], work: Callable[[Part], None]) -> None:
        """See `World`."""
        if self.sharded:
            super().add_up(parts, tensors, work)
            return
        for part in parts[self.rank :: self.size]:
            work(part)
        for tensor in tensors:  # one by one, since the exchange takes a copy
            self.sum([tensor])


ALONE = World()
"""A single process."""

_world = ALONE


def world() -> World:
    """The processes that run the present stage."""
    return _world


@contextmanager
def joined(several: World) -> Iterator[None]:
    """Within this context `world` gives these processes."""
    global _world
    before, _world = _world, several
    try:
        yield
    finally:
        _world = before
