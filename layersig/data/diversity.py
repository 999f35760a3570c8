"""How diverse a set of texts is, by its n-grams of words: no model is asked.

Distinct-n (Li et al. 2016, arXiv 1510.03055) is the share of n-grams that are different ones. It falls with the number
of words, so that sets of different size cannot be compared by it. The mean over segments of equal length can be, as the
mean segmental type-token ratio (Johnson 1944) is for single words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layersig.probes.degeneration import words

SEGMENT = 2000
"""Words of a segment."""
_LONGEST = 3


@dataclass(frozen=True, slots=True)
class Diversity:
    """The diversity of some texts.

    Attributes:
        words: Words in all.
        distinct: Distinct-n by n, over all words.
        in_segments: Mean distinct-n by n over segments of `SEGMENT` words; empty with fewer words.
    """

    words: int
    distinct: dict[str, float]
    in_segments: dict[str, float]


def diversity(texts: Sequence[str]) -> Diversity:
    """The diversity of texts; an n-gram never spans two of them.

    Args:
        texts: Texts in an order that has nothing to do with what they say: segments are cut along it.
    """
    split = [words(text) for text in texts]
    total = sum(map(len, split))
    segments = [segment for segment in _segments(split) if sum(map(len, segment)) == SEGMENT]
    sizes = range(1, _LONGEST + 1)
    whole = {str(n): share for n in sizes if (share := _distinct(split, n)) is not None}
    each = {str(n): [share for segment in segments if (share := _distinct(segment, n)) is not None] for n in sizes}
    return Diversity(total, whole, {n: sum(shares) / len(shares) for n, shares in each.items() if shares})


def _segments(texts: Sequence[Sequence[str]]) -> list[list[Sequence[str]]]:
    """The texts cut into stretches of `SEGMENT` words, the last one shorter."""
    segments: list[list[Sequence[str]]] = [[]]
    room = SEGMENT
    for text in texts:
        start = 0
        while len(text) - start > room:
            segments[-1].append(text[start : start + room])
            start += room
            segments.append([])
            room = SEGMENT
        segments[-1].append(text[start:])
        room -= len(text) - start
    return segments


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float | None:
    grams = [tuple(text[place : place + n]) for text in texts for place in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None
