"""Numbers and confidence sets as they go into rows."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from layersig.analysis.fieller import RatioSet, SetShape


@dataclass(frozen=True, slots=True)
class ShownSet:
    """A ratio with its set; None for what is infinite or unknown."""

    ratio: float | None
    shape: str | None
    low: float | None
    high: float | None


def finite(value: float) -> float | None:
    """The number, or None where it is infinite or unknown."""
    return value if isfinite(value) else None


def finite_set(found: RatioSet | None) -> ShownSet:
    """The set with infinite ends left out; nothing at all where there is no ratio."""
    if found is None or not isfinite(found.ratio):
        return ShownSet(None, None, None, None)
    if found.shape is SetShape.EVERYTHING:
        return ShownSet(found.ratio, found.shape.value, None, None)
    return ShownSet(found.ratio, found.shape.value, found.low, found.high)
