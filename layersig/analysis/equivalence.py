"""What it takes to find two equal arms equivalent: power of two one-sided tests, numbers of items and of seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special, stats

from layersig.analysis.paired import score_variance
from layersig.analysis.power import POWER, discordance_limit, expected_mean_squares, planned_variances, se_upper_limit
from layersig.analysis.quantiles import t_quantile
from layersig.analysis.results import Effect
from layersig.analysis.twoway import MeanSquares, two_way_estimate

_MOST_SEEDS = 1000
_MOST_ITEMS = 10**9
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_MANY = 2000
"""Degrees of freedom from which on t is taken for normal."""


def power_tost(true_difference: float, sd: float, n: int, margin: float, alpha: float = 0.05) -> float:
    """Exact power of the two one-sided t tests of equivalence of `n` paired units.

    Integrates over the law of the standard deviation, since both tests share it (Phillips 1990).

    Args:
        true_difference: True mean difference.
        sd: Standard deviation of the difference of one unit.
        n: Units.
        margin: Equivalence margin.
        alpha: Level of each test.
    """
    return _power_tost(true_difference, sd / float(np.sqrt(n)), n - 1, margin, alpha)


def items_for_equivalence(estimate: Effect, items: int, margin: float, alpha: float = 0.05) -> int | None:
    """Least number of items on which two equal checkpoints are found equivalent with 80 % power.

    Args:
        estimate: Their difference, with an error over `items` items; taken at its upper 80 % limit.
        items: Items behind the estimate.
        margin: Equivalence margin.
        alpha: Level of each of the two one-sided tests.

    Returns:
        None beyond a billion.
    """
    sd = se_upper_limit(estimate) * float(np.sqrt(items))
    return _least(lambda n: power_tost(0.0, sd, n, margin, alpha) >= POWER, _MOST_ITEMS)


def items_for_equivalence_discordant(discordant: int, items: int, margin: float, alpha: float = 0.05) -> int | None:
    """The same for items that are right or wrong, by the corrected score test of `paired.PairedShares`.

    Args:
        discordant: Items on which the two differ, in this sample; planned with the upper 80 % limit of their share.
        items: All items.
        margin: Equivalence margin.
        alpha: Level of each of the two one-sided tests.
    """
    limit = discordance_limit(discordant, items)

    def suffices(n: int) -> bool:
        # Half of the items that differ are wins; the test's error is that at the margin, the sample's that at 0.
        spread = float(np.sqrt(score_variance(n * limit / 2, n * limit / 2, n, margin)))
        room = n * margin - 0.5 - float(stats.norm.ppf(1 - alpha)) * spread
        return room > 0 and 2 * float(stats.norm.cdf(room / np.sqrt(n * limit))) - 1 >= POWER

    return _least(suffices, _MOST_ITEMS)


def seeds_for_equivalence(ms: MeanSquares, margin: float, alpha: float = 0.05) -> int | None:
    """Least number of seeds at which two equal methods are found equivalent with 80 % power, the items staying.

    The components of variance are those of `planned_variances`.

    Returns:
        None when even 1,000 seeds do not suffice: then the items limit the precision.
    """
    variances = planned_variances(ms)

    def suffices(seeds: int) -> bool:
        planned = two_way_estimate(expected_mean_squares(variances, seeds, ms.items))
        return _power_tost(0.0, planned.se, planned.df, margin, alpha) >= POWER

    return _least(suffices, _MOST_SEEDS)


def _least(suffices: Callable[[int], bool], most: int) -> int | None:
    """The least number from 2 to `most` that suffices, where larger ones do too; None where none does."""
    low, high = 1, 2
    while not suffices(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _power_tost(true_difference: float, se: float, df: float, margin: float, alpha: float) -> float:
    if df > _MANY:
        room, shift = margin / se - float(stats.norm.ppf(1 - alpha)), true_difference / se
        return max(0.0, float(stats.norm.cdf(room - shift) - stats.norm.cdf(-room - shift)))
    root_df = float(np.sqrt(df))
    t = t_quantile(1 - alpha, df)

    # The observed error over the true one follows chi; its law is narrow with many degrees of freedom.
    around = 12 / float(np.sqrt(2 * df))
    low, high = max(0.0, 1 - around), min(1 + around, margin / (t * se))
    if low >= high:
        return 0.0
    ratio = low + (high - low) * (_NODES + 1) / 2
    rooms, shift = margin / se - t * ratio, true_difference / se
    found = stats.chi.pdf(ratio * root_df, df) * root_df * (special.ndtr(rooms - shift) - special.ndtr(-rooms - shift))
    return float(_WEIGHTS @ found * (high - low) / 2)
