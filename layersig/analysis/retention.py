"""Shares of a score that survive: retention, chance-corrected retention, share of the gain, gap between formats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from layersig.analysis.fieller import RatioSet, fieller_set
from layersig.analysis.floors import with_items, with_shares
from layersig.analysis.means import mean_items, unit_values
from layersig.analysis.results import Estimate, FloatArray, Interval
from layersig.analysis.tables import mean_of
from layersig.analysis.twoway import mean_squares, two_way_covariance, two_way_estimate

_CHUNK_CELLS = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class RatioPart:
    """A ratio of means that enters a sum of ratios.

    Attributes:
        numerator: Unit values, shape (runs, units).
        denominator: Same shape.
        weight: What the ratio is multiplied by in the sum.
        added: Pseudo-items of right or wrong outcomes, see `ratio_fieller_items`.
    """

    numerator: FloatArray
    denominator: FloatArray
    weight: float = 1.0
    added: FloatArray | None = None

    @property
    def ratio(self) -> float:
        """Ratio of averages.

        Raises:
            ValueError: The denominator is 0.
        """
        if not self.denominator.mean():
            raise ValueError("a ratio has no meaning where the base scores 0")
        return float(self.numerator.mean()) / float(self.denominator.mean())

    def influence(self) -> FloatArray:
        """What each unit contributes to the weighted ratio: values whose mean it is, shape (runs, units).

        With pseudo-items, whose contributions come last, the mean is that of the ratio with them.
        """
        top, bottom = self.numerator, self.denominator
        if self.added is not None:
            top, bottom = with_items(top, self.added[0]), with_items(bottom, self.added[1])
        under = float(bottom.mean())
        ratio = float(top.mean()) / under
        return np.asarray(self.weight * (ratio + (top - ratio * bottom) / under))

    def contributions(self) -> FloatArray:
        """What each unit adds to the weighted ratio beyond its expectation, pseudo-items left out, shape (units,).

        Raises:
            ValueError: There is more than one run.
        """
        if self.numerator.shape[0] != 1:
            raise ValueError(f"one run is needed, got {self.numerator.shape[0]}")
        found = self.influence()[0, : self.numerator.shape[1]]
        return np.asarray((found - found.mean()) / found.size)


def ratio_of_tables(
    numerator: FloatArray,
    denominator: FloatArray,
    level: float = 0.95,
    shares: FloatArray | None = None,
    added: FloatArray | None = None,
) -> RatioSet:
    """Ratio of two means over the same items, or runs and items, with its Fieller set.

    Retention of an arm is (arm, base); share of the gain kept is (arm - base, all - base). The ratio of averages, not
    the average of ratios.

    Args:
        numerator: Unit values, shape (runs, units); an arm without runs, such as the untouched base, is repeated.
        denominator: Same shape.
        level: Coverage.
        shares: Share of each unit in the weight of all, see `means.mean_items`.
        added: Pseudo-items (numerator, denominator) of right or wrong outcomes, shape (2, pseudo-items), from
            `floors`. Without them, outcomes that happen not to vary give a set of no width.

    Returns:
        With one run, the set over items. With several, that with the conservative two-way covariance and
        Satterthwaite's degrees of freedom at the estimated ratio.
    """
    if numerator.ndim != 2 or numerator.shape != denominator.shape:
        raise ValueError(f"two tables of equal shape are needed, got {numerator.shape} and {denominator.shape}")
    shown, bottom = float(numerator.mean()), float(denominator.mean())
    if added is not None:
        numerator, denominator = with_items(numerator, added[0]), with_items(denominator, added[1])
        shares = with_shares(shares, added.shape[1])
    top, under = float(numerator.mean()), float(denominator.mean())
    rest = numerator - (top / under if under != 0 else 0.0) * denominator
    if numerator.shape[0] == 1:
        covariance, df = _covariance(numerator[0], denominator[0], shares), mean_items(rest[0], shares).df
    else:
        covariance = two_way_covariance(numerator, denominator, shares)
        df = two_way_estimate(mean_squares(rest, shares), conservative=True).df
    found = fieller_set(top, under, covariance, df, level)
    return replace(found, ratio=shown / bottom if bottom != 0 else float("nan"))


def _covariance(a: FloatArray, b: FloatArray, shares: FloatArray | None) -> FloatArray:
    """Covariance of the means of two vectors of unit values, shape (2, 2)."""
    if shares is None:
        return np.asarray(np.cov(a, b) / a.size)
    deviations = np.stack([a - a.mean(), b - b.mean()])
    return np.asarray((deviations / (1 - shares)) @ deviations.T / a.size**2)


def ratio_bootstrap_items(
    numerator: FloatArray, denominator: FloatArray, rng: np.random.Generator, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile interval of a ratio of means, items drawn in pairs with replacement.

    Bounded by construction: draws whose denominator is 0 are left out. When the denominator may be 0 the Fieller set
    tells the truth and this interval does not.

    Args:
        numerator: Shape (n,).
        denominator: Same items.
        rng: Source of randomness.
        draws: Bootstrap samples.
        level: Coverage.
    """
    if numerator.ndim != 1 or numerator.shape != denominator.shape:
        raise ValueError(f"two vectors of equal length are needed, got {numerator.shape} and {denominator.shape}")
    n = numerator.size
    both = np.stack([numerator, denominator], axis=1)
    chunk = max(1, _CHUNK_CELLS // n)
    ratios = []
    for start in range(0, draws, chunk):
        sums = rng.multinomial(n, np.full(n, 1 / n), size=min(chunk, draws - start)) @ both
        there = sums[:, 1] != 0
        ratios.append(sums[there, 0] / sums[there, 1])
    low, high = np.quantile(np.concatenate(ratios), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def room_above_floor(room: Estimate, least: float = 0.05) -> bool:
    """Whether a reference is clear of its floor, so that a ratio above it means something.

    Args:
        room: Reference minus floor, on the same items.
        least: Smallest difference, in the unit of the outcomes; three standard errors are needed too.
    """
    return room.value > max(3 * room.se, least)


def mean_of_ratios(parts: Sequence[RatioPart]) -> Estimate | None:
    """Weighted sum of ratios over fixed tasks that share training runs, with its delta-method error.

    What a run does to one task it does to others, and the tasks have items of their own: the tasks are fixed strata of
    one table of runs x items.

    Args:
        parts: The ratios; all with the same number of runs.

    Returns:
        None where a table has fewer than two items or nothing varies.

    Raises:
        ValueError: A denominator is 0.
    """
    value = sum(part.weight * part.ratio for part in parts)
    tables = [part.influence() for part in parts]
    strata = np.repeat(np.arange(len(tables)), [table.shape[1] for table in tables])
    weights = np.concatenate([np.full(table.shape[1], 1 / table.shape[1]) for table in tables])
    rows = np.concatenate(tables, axis=1) * len(tables)
    if min(table.shape[1] for table in tables) < 2:
        return None
    units = np.stack([unit_values(row, weights, strata=strata) for row in rows])
    # Centred on the observed ratios: the shift that pseudo-items give to each of many tasks would add up.
    found = mean_of(units, magnitude=max(1.0, abs(value)))
    return None if found is None else Estimate(value, found.se, found.df)


def difference_of_ratios(one: RatioPart, other: RatioPart) -> Estimate | None:
    """Difference of two ratios on the same items (and runs), with its delta-method error over both.

    Retention as a choice minus retention in writing, each item asked both ways, separates the way to answer from the
    items; a gap between different tasks only describes those tasks.

    Returns:
        None where there are fewer than two items or nothing varies.

    Raises:
        ValueError: Shapes differ, or a denominator is 0.
    """
    value, (u, v), n = one.ratio - other.ratio, (one.influence(), other.influence()), one.numerator.shape[1]
    # Pseudo-items of one side meet the mean of the other, since alike they would cancel.
    table = np.concatenate([u[:, :n] - v[:, :n], u[:, n:] - v.mean(), u.mean() - v[:, n:]], axis=1)
    found = mean_of(table, magnitude=max(1.0, abs(value)))
    return None if found is None else Estimate(value, found.se, found.df)
