"""Rankings carried from the layers of one model to those of another, by name or by module type and relative depth."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from layersig.analysis.results import FloatArray

_BLOCK = re.compile(r"\.(\d+)(?:\.|$)")


def relative_ranks(names: Sequence[str], scores: FloatArray) -> dict[str, float]:
    """Mean over rankings of (N - rank) / (N - 1), ranks from 1 and shared by ties: 1 for the first, 0 for the last.

    Args:
        names: Names of the units, N.
        scores: Scores of every ranking, shape (rankings, N).
    """
    mean = (rankdata(scores, axis=1).mean(axis=0) - 1) / max(1, len(names) - 1)
    return dict(zip(names, mean.tolist(), strict=True))


def by_name(scores: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """The scores of those names that have one."""
    return {name: scores[name] for name in names if name in scores}


def by_depth(scores: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Scores of units of another model, by module type and relative depth (b + 1/2) / blocks.

    Between blocks the score is interpolated linearly. A unit without a block, such as the output head, takes that of
    its namesake; one whose module type the other model lacks has none.

    Args:
        scores: Scores of the units of one model, by name.
        names: Names of the units of the other.
    """
    known: dict[str, list[tuple[int | None, float]]] = defaultdict(list)
    for name, score in scores.items():
        place = _place(name)
        known[place.kind].append((place.block, score))
    depth, new_depth = _blocks(scores), _blocks(names)
    found = {}
    for name in names:
        kind, block = _place(name)
        if kind not in known:
            continue
        if block is None:
            found[name] = known[kind][0][1]
            continue
        ordered = sorted((each, score) for each, score in known[kind] if each is not None)
        places = [(each + 0.5) / depth for each, _ in ordered]
        found[name] = float(np.interp((block + 0.5) / new_depth, places, [score for _, score in ordered]))
    return found


class _Place(NamedTuple):
    """A unit by its name: module type, and block (None for the output head)."""

    kind: str
    block: int | None


def _place(name: str) -> _Place:
    # The first number in a name is the block: experts of a mixture come after it.
    number = _BLOCK.search(name)
    return _Place(name, None) if number is None else _Place(name[number.end() :], int(number.group(1)))


def _blocks(names: Mapping[str, float] | Sequence[str]) -> int:
    return 1 + max((block for block in (_place(name).block for name in names) if block is not None), default=0)
