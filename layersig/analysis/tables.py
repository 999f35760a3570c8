"""Means of seeds x units tables at the scope that their runs allow, and when a table allows no interval at all."""

from enum import StrEnum

import numpy as np

from layersig.analysis import floors
from layersig.analysis.means import mean_items
from layersig.analysis.results import Estimate, FloatArray
from layersig.analysis.twoway import mean_squares, two_way_estimate

_ROUNDING = 1e-6
"""Outcomes come from arithmetic in single precision; what varies by less, relative to its size, is rounding."""


class NoInterval(StrEnum):
    """Why a table allows neither an interval nor a test."""

    TOO_FEW = "there are fewer than two independent items"
    NO_VARIATION = "nothing varies, so the size of the error is unknown"


class Floor(StrEnum):
    """What a table of right or wrong outcomes holds, and so which pseudo-items belong to it (see `floors`)."""

    LEVEL = "level"
    DIFFERENCE = "difference"
    OF_DIFFERENCES = "difference of differences"


_ADDED = {
    Floor.LEVEL: floors.LEVEL,
    Floor.DIFFERENCE: floors.DIFFERENCE,
    Floor.OF_DIFFERENCES: floors.DIFFERENCE,
}
_REACH = {Floor.LEVEL: (0.0, 1.0), Floor.DIFFERENCE: (-1.0, 1.0), Floor.OF_DIFFERENCES: (-2.0, 2.0)}


def no_interval(table: FloatArray, floor: Floor | None = None, magnitude: float | None = None) -> NoInterval | None:
    """Why there is no interval; None where there is one.

    Args:
        table: Unit values, shape (seeds, units).
        floor: Given where outcomes are right or wrong: then no variation is no obstacle.
        magnitude: Size of the outcomes behind the table, against which differences may be rounding; the table's own
            when absent.
    """
    if table.shape[1] < 2:
        return NoInterval.TOO_FEW
    size = float(np.abs(table).max()) if magnitude is None else magnitude
    return NoInterval.NO_VARIATION if floor is None and float(np.ptp(table)) <= _ROUNDING * size else None


def mean_of(
    table: FloatArray,
    shares: FloatArray | None = None,
    floor: Floor | None = None,
    magnitude: float | None = None,
) -> Estimate | None:
    """Mean of a table: over items with one run, over seeds and items with several.

    Args:
        table: Unit values, shape (seeds, units).
        shares: Share of each unit in the weight of all, see `means.mean_items`.
        floor: See `no_interval`; the interval then counts pseudo-items.
        magnitude: See `no_interval`.

    Returns:
        The estimate, or None where `no_interval` has a reason.
    """
    if no_interval(table, floor, magnitude) is not None:
        return None
    found = _mean(*with_floor(table, shares, floor))
    return found if floor is None else Estimate(float(table.mean()), found.se, found.df, found.value, _REACH[floor])


def with_floor(
    table: FloatArray, shares: FloatArray | None, floor: Floor | None
) -> tuple[FloatArray, FloatArray | None]:
    """The table and its shares with the pseudo-items that a floor adds, none where it is None."""
    if floor is None:
        return table, shares
    added = _ADDED[floor]
    return floors.with_items(table, added), floors.with_shares(shares, added.size)


def _mean(table: FloatArray, shares: FloatArray | None) -> Estimate:
    if table.shape[0] == 1:
        return mean_items(table[0], shares)
    return two_way_estimate(mean_squares(table, shares))
