"""The most valuable set of things within a budget, exactly, where the things come in layers that share a fixed cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Level(NamedTuple):
    """Things that may be taken once a level is reached.

    Attributes:
        values: What each is worth: whole numbers, so that sums are exact.
        costs: What each costs, whole numbers from 1.
        room: What all things taken, of this level and of those before, may cost together if this is the last level
            that is reached. It falls from level to level, since levels cost.
    """

    values: Sequence[int]
    costs: Sequence[int]
    room: float


class Best(NamedTuple):
    """The most valuable set; of several, the one that leaves most of its room.

    Attributes:
        value: What it is worth.
        level: The last level that it reaches.
        taken: Numbers of what is taken, counted through all levels.
    """

    value: int
    level: int
    taken: tuple[int, ...]


def best(levels: Sequence[Level]) -> Best | None:
    """The most valuable set over all last levels; None where nothing fits.

    Things are added one after another to every set that no other beats in both value and cost (Nemhauser and Ullmann,
    1969). A set is dropped once not even a part of a thing to fill up with could lift it above the best one known, so
    that few are left; nothing is approximated.
    """
    import numpy as np

    costs, values = np.zeros(1, np.int64), np.zeros(1, np.int64)
    origins: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []
    found: tuple[int, float, int, int, int] | None = None  # value, room that is left, level, things seen, place
    known = _filled(levels)
    for number, level in enumerate(levels):
        for place, (value, cost) in enumerate(zip(level.values, level.costs, strict=True)):
            rest = _Rest.of(levels, number, place + 1)
            taken = np.arange(2 * len(costs)) < len(costs)  # first, so that of equal sets the one with the thing stays
            both, worth = np.concatenate([costs + cost, costs]), np.concatenate([values + value, values])
            order = np.lexsort((-worth, both))
            order = order[_rises(worth[order])]
            order = order[(both[order] <= level.room) & (worth[order] + rest.most(level.room - both[order]) >= known)]
            origins.append((order % len(costs), taken[order]))
            costs, values = both[order], worth[order]
        fits = np.flatnonzero(costs <= level.room)
        if not len(fits):
            break
        last = int(fits[-1])
        candidate = (int(values[last]), level.room - int(costs[last]), number, len(origins), last)
        if candidate[0] > 0 and (found is None or candidate[:2] > found[:2]):
            found, known = candidate, max(known, candidate[0])
    if found is None:
        return None
    value, _, reached, seen, at = found
    chosen = []
    for thing in reversed(range(seen)):
        parents, with_it = origins[thing]
        if with_it[at]:
            chosen.append(thing)
        at = int(parents[at])
    return Best(value, reached, tuple(reversed(chosen)))


def _rises(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a sequence exceeds all that came before."""
    import numpy as np

    highest = np.maximum.accumulate(values)
    return np.concatenate([[True], highest[1:] > highest[:-1]])[: len(values)]


class _Rest(NamedTuple):
    """Things that are still to come, the most valuable for their cost first: sums of their costs and values."""

    costs: NDArray[np.int64]
    values: NDArray[np.int64]

    @classmethod
    def of(cls, levels: Sequence[Level], number: int, place: int) -> _Rest:
        import numpy as np

        after = levels[number + 1 :]
        values = np.array([*levels[number].values[place:], *(each for level in after for each in level.values)], int)
        costs = np.array([*levels[number].costs[place:], *(each for level in after for each in level.costs)], int)
        order = np.argsort(-values / np.maximum(costs, 1), kind="stable")
        sums = [np.concatenate([[0], np.cumsum(each[order])]) for each in (costs, values)]
        return cls(*sums)

    def most(self, room: NDArray[np.float64]) -> NDArray[np.float64]:
        """An upper bound of what fits into that room: the last thing may be taken in part."""
        import numpy as np

        bound: NDArray[np.float64] = np.ceil(np.interp(room, self.costs, self.values))
        return bound


def _filled(levels: Sequence[Level]) -> int:
    """What the best of simple sets is worth: for every last level, the most valuable for their cost that still fit."""
    highest = 0
    for number, level in enumerate(levels):
        things = [each for one in levels[: number + 1] for each in zip(one.values, one.costs, strict=True)]
        room, value = level.room, 0
        for worth, cost in sorted(things, key=lambda thing: -thing[0] / thing[1]):
            if cost <= room:
                room, value = room - cost, value + worth
        highest = max(highest, value)
    return highest
