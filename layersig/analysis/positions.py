"""Rankings by place alone, which a score of layers must differ from to mean anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from layersig.analysis.results import FloatArray


def first(count: int) -> FloatArray:
    """Scores of `count` units in model order: the earlier, the higher."""
    return -np.arange(count, dtype=np.float64)


def last(count: int) -> FloatArray:
    """The later, the higher."""
    return np.arange(count, dtype=np.float64)


def middle(count: int) -> FloatArray:
    """The nearer to the middle, the higher; of two units at the same distance, the earlier."""
    places = np.arange(count)
    return np.asarray(-np.abs(2.0 * places - (count - 1)) - (2 * places > count - 1) * 0.5)


def ends(count: int) -> FloatArray:
    """The last unit before all others, and then the earlier, the higher: its top k are the first k - 1 and the last."""
    scores = first(count)
    scores[-1] = 1.0
    return scores


RULES: Mapping[str, Callable[[int], FloatArray]] = {"first-k": first, "last-k": last, "middle": middle, "ends": ends}
"""The rules by the name of the scorer that ranks by them."""
