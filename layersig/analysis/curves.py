"""Outcomes over an ordered quantity: a simultaneous band, a trend, and where the optimum may be.

With two to four training runs a point, all three take the degrees of freedom of the runs alone. Those that
Satterthwaite estimates are too many where the runs happen to be alike, and the tails that several comparisons need do
not forgive that (`docs/calibration.md`, Sweeps).
"""

from dataclasses import dataclass, replace

import numpy as np

from layersig.analysis.looks import EffectAtLook, Look
from layersig.analysis.results import Alternative, Effect, FloatArray, Interval
from layersig.analysis.tables import Floor, mean_of

_ENOUGH_RUNS = 5


@dataclass(frozen=True, slots=True)
class Trend:
    """A linear trend over the points in their order, each step to the next counting the same.

    Attributes:
        contrast: Mean of the later points minus mean of the earlier ones, both weighted by their distance from the
            middle: what the test is of.
        steps: Average change a step is `contrast / steps`.
    """

    contrast: Effect
    steps: float

    @property
    def slope(self) -> float:
        """Average change from one point to the next."""
        return self.contrast.value / self.steps

    def interval(self, level: float = 0.95) -> Interval:
        """Interval of the slope."""
        ends = self.contrast.interval(level)
        return Interval(ends.low / self.steps, ends.high / self.steps, level)

    def p_value(self) -> float:
        """Two-sided p-value of "no trend"."""
        return self.contrast.p_value()


def band(
    tables: FloatArray,
    level: float = 0.95,
    shares: FloatArray | None = None,
    floor: Floor | None = None,
    look: Look | None = None,
) -> tuple[Interval | None, ...]:
    """Intervals of the means at all points, which hold together with probability `level` (Bonferroni).

    Args:
        tables: Unit values, shape (points, seeds, units).
        level: Joint coverage.
        shares: Share of each unit in the weight of all, see `means.mean_items`.
        floor: `Floor.LEVEL` where outcomes are right or wrong.
        look: The declared look at the results that intervals allow for.

    Returns:
        One a point; None where nothing is known of its error.
    """
    each = 1 - (1 - level) / len(tables)
    found = [_mean(table, shares, floor, look) for table in tables]
    return tuple(None if estimate is None else estimate.interval(each) for estimate in found)


def trend(
    tables: FloatArray, shares: FloatArray | None = None, floor: Floor | None = None, look: Look | None = None
) -> Trend | None:
    """The linear contrast over the points, in order.

    One contrast of one paired table: seeds and items are those of every point, so that their differences cancel. It is
    scaled to be a difference of two weighted means, which for right or wrong outcomes lies between -1 and 1, and for
    differences of such outcomes between -2 and 2.

    Args:
        tables: Unit values, shape (points >= 2, seeds, units).
        shares: Share of each unit in the weight of all, see `means.mean_items`.
        floor: `Floor.DIFFERENCE` where outcomes are right or wrong, `Floor.OF_DIFFERENCES` where they are differences
            of such outcomes.
        look: The declared look at the results that the test and the interval allow for.

    Returns:
        None where nothing is known of its error.
    """
    weights, steps = _contrast(len(tables))
    contrast = _mean(np.tensordot(weights, tables, axes=1), shares, floor, look, float(np.abs(tables).max()))
    return None if contrast is None else Trend(contrast, steps)


def best_set(
    tables: FloatArray,
    alpha: float = 0.05,
    shares: FloatArray | None = None,
    floor: Floor | None = None,
    look: Look | None = None,
) -> tuple[bool, ...]:
    """Which points are not shown to be worse than the best one: a confidence set for the best point.

    A point leaves the set where some other is better by a one-sided paired t test at alpha / (points - 1). Only the
    tests of the truly best point against the others can cost the set its coverage, so that no correction over the
    points themselves is needed, and the set holds the best point with probability 1 - alpha at least.

    Args:
        tables: Outcomes, shape (points >= 2, seeds, units), higher is better.
        alpha: Chance that the set lacks the best point.
        shares: Share of each unit in the weight of all, see `means.mean_items`.
        floor: `Floor.DIFFERENCE` where outcomes are right or wrong.
        look: The declared look at the results that the tests allow for.

    Source:
        Hsu 1984, "Constrained simultaneous confidence intervals for multiple comparisons with the best"; the set is
        that of Gupta 1965. Deviation: Bonferroni's bound in place of the law of the largest of correlated t, since the
        errors of two-way tables differ from pair to pair.
    """
    points = len(tables)
    magnitude = float(np.abs(tables).max())
    kept = np.ones(points, dtype=bool)
    for point in range(points):
        for other in range(points):
            if other == point:
                continue
            found = _mean(tables[other] - tables[point], shares, floor, look, magnitude)
            if found is not None and found.p_value(alternative=Alternative.GREATER) <= alpha / (points - 1):
                kept[point] = False
                break
    return tuple(kept.tolist())


def _mean(
    table: FloatArray,
    shares: FloatArray | None,
    floor: Floor | None,
    look: Look | None,
    magnitude: float | None = None,
) -> Effect | None:
    """`tables.mean_of`, with the degrees of freedom of the runs where these are few, and what a look leaves of it."""
    found, runs = mean_of(table, shares, floor, magnitude), len(table)
    if found is not None and 1 < runs < _ENOUGH_RUNS:
        found = replace(found, df=min(found.df, runs - 1))
    return found if found is None or look is None else EffectAtLook(found, look)


def _contrast(points: int) -> tuple[FloatArray, float]:
    """Weights of the linear contrast, positive ones summing to 1, and the steps that it is worth on a straight line."""
    centred = np.arange(points) - (points - 1) / 2
    weights = centred / centred[centred > 0].sum()
    return weights, float(weights @ np.arange(points))
