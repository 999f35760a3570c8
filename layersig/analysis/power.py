"""What a design can detect, before it is run. There is no power after the fact: report the half-width instead."""

from dataclasses import replace

import numpy as np
from scipy import optimize, special, stats

from layersig.analysis.quantiles import chi2_quantile, t_quantile
from layersig.analysis.results import Alternative, Effect, FloatArray
from layersig.analysis.twoway import MeanSquares, two_way_estimate

_DRAWS = 2048
"""Studies that the power of a test over seeds and items is averaged over."""
POWER = 0.8
"""The power that plans are made for."""
_LIMIT = 0.8
"""Confidence of the upper limits that plans are made with."""


def power_t(
    difference: float, sd: float, n: float, alpha: float = 0.05, alternative: Alternative = Alternative.TWO_SIDED
) -> float:
    """Power of a one-sample (paired) t test.

    Args:
        difference: True mean difference; for `LESS` a negative number has power.
        sd: Standard deviation of the difference of one unit (seed or item), declared or from `sd_upper_limit`.
        n: Units.
        alpha: Level.
        alternative: Direction.

    Source:
        Noncentral t law, Johnson, Kotz and Balakrishnan 1995, chapter 31.
    """
    return _noncentral_power(difference / (sd / float(np.sqrt(n))), n - 1, alpha, alternative)


def detectable_difference(
    sd: float, n: float, power: float = 0.8, alpha: float = 0.05, alternative: Alternative = Alternative.TWO_SIDED
) -> float:
    """Smallest positive difference that a paired t test of `n` units finds with the given power."""
    return sd / float(np.sqrt(n)) * _detectable_noncentrality(n - 1, power, alpha, alternative)


def detectable_of(estimate: Effect, alpha: float = 0.05, ms: MeanSquares | None = None) -> float:
    """Difference that a new study of the same size finds with 80 % power, planned from the error seen in this one.

    The error is taken at its upper 80 % limit: at the observed value itself, half of all plans fall short, and with a
    few degrees of freedom far short.

    Args:
        estimate: Difference with its error, over items or over seeds and items.
        alpha: Level of the two-sided test.
        ms: Mean squares behind an error over seeds and items.
    """
    limit, df = (se_upper_limit(estimate), estimate.df) if ms is None else two_way_upper(ms)
    return limit * _detectable_noncentrality(df, POWER, alpha)


def two_way_upper(ms: MeanSquares, level: float = _LIMIT) -> tuple[float, float]:
    """Upper limit of the standard error of a mean over seeds x items, and the degrees of freedom that go with it.

    Satterthwaite's degrees of freedom describe a sum of mean squares badly where one of them has two or three: the
    limit adds up the squared distances of each mean square from its own limit instead. The degrees of freedom are those
    that a study has whose mean square of seeds is at its limit.

    Source:
        Graybill and Wang 1980, "Confidence intervals on nonnegative linear combinations of variances".
    """
    s, n = ms.seeds, ms.items
    above = [
        mean_square * (df / chi2_quantile(1 - level, df) - 1)
        for mean_square, df in ((ms.seed, s - 1), (ms.item, ms.items_df))
    ]
    limit = float(np.sqrt(two_way_estimate(ms).se ** 2 + np.hypot(above[0], above[1]) / (s * n)))
    return limit, two_way_estimate(replace(ms, seed=ms.seed + above[0])).df


def power_discordant(difference: float, discordance: float, items: int, alpha: float = 0.05) -> float:
    """Power of the exact McNemar test of two checkpoints, summed over the number of items on which they differ.

    Args:
        difference: True difference of the shares solved.
        discordance: Share of items that one solves and the other does not, at least the difference.
        items: Items.
        alpha: Level, two-sided.
    """
    if not 0 <= abs(difference) <= discordance <= 1:
        raise ValueError(f"a difference of {difference} needs a discordance from that to 1, got {discordance}")
    if discordance == 0:
        return 0.0
    few, many = (int(stats.binom.ppf(p, items, discordance)) for p in (1e-9, 1 - 1e-9))
    differing = np.arange(few, many + 1)
    # Most losses (or wins) with which the doubled tail still rejects; -1 where none do.
    most = stats.binom.ppf(alpha / 2, differing, 0.5)
    most = np.where(stats.binom.cdf(most, differing, 0.5) > alpha / 2, most - 1, most)
    won = (1 + difference / discordance) / 2
    found = stats.binom.cdf(most, differing, 1 - won) + stats.binom.cdf(most, differing, won)
    return float(stats.binom.pmf(differing, items, discordance) @ found)


def detectable_difference_discordant(
    discordant: int, items: int, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Difference of two checkpoints that the exact McNemar test finds with the given power on as many new items.

    Planned with the upper 80 % limit of the discordance, and never a difference above the discordance: where the limit
    is too small for any, the discordance is the difference itself, every item that differs being won.

    Args:
        discordant: Items on which the two differ, in this sample.
        items: All items.
        power: Wanted power.
        alpha: Level, two-sided.

    Returns:
        A share of the items; None where so few items find no difference at all.
    """
    return detectable_at_discordance(discordance_limit(discordant, items), items, power, alpha)


def detectable_at_discordance(discordance: float, items: int, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The same for a share of items that differ which is declared, not taken from a sample."""

    def gap(difference: float) -> float:
        return power_discordant(difference, max(discordance, difference), items, alpha) - power

    return None if gap(1.0) < 0 else float(optimize.brentq(gap, 1e-9, 1.0, xtol=1e-6))


def planned_variances(ms: MeanSquares) -> tuple[float, float, float]:
    """Components of variance (seed, item, residual) of a pilot to plan another size with.

    They are scaled by what the upper 80 % limit of the error is above the observed one; negative ones count as zero.
    """
    scale = (two_way_upper(ms)[0] / two_way_estimate(ms).se) ** 2
    seed, item, residual = (scale * max(0.0, variance) for variance in ms.variances)
    return seed, item, residual


def discordance_limit(discordant: int, items: int) -> float:
    """Upper 80 % limit of the share of items on which two checkpoints differ (Clopper and Pearson 1934)."""
    return float(stats.beta.ppf(_LIMIT, discordant + 1, items - discordant)) if discordant < items else 1.0


def se_upper_limit(estimate: Effect) -> float:
    """Upper limit of a standard error; itself where its degrees of freedom are infinite."""
    return sd_upper_limit(estimate.se, estimate.df) if np.isfinite(estimate.df) else estimate.se


def sd_upper_limit(sd: float, df: float, level: float = _LIMIT) -> float:
    """Upper confidence limit of a standard deviation from a pilot, to plan with instead of the estimate itself.

    Source:
        Browne 1995, "On the use of a pilot sample for sample size determination".
    """
    return sd * float(np.sqrt(df / chi2_quantile(1 - level, df)))


def power_two_way(
    difference: float,
    variances: tuple[float, float, float],
    seeds: int,
    items: int,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> float:
    """Power of the two-way random-effects test of a mean difference, averaged over what a study may see of its errors.

    The degrees of freedom of the test depend on the mean squares of the study itself: with few seeds, those at the
    expected mean squares give a power that is wrong by a fifth of the difference.

    Args:
        difference: True mean difference; for `LESS` a negative number has power.
        variances: Components (seed, item, residual) of one cell of the table of differences.
        seeds: Training runs per arm.
        items: Evaluation items.
        alpha: Level.
        alternative: Direction.
    """
    return _power_two_way(difference, *_two_way_reach(variances, seeds, items, alpha, alternative), alternative)


def detectable_two_way(
    variances: tuple[float, float, float],
    seeds: int,
    items: int,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> float:
    """Smallest positive difference that `power_two_way` finds with the given power."""
    reach, error = _two_way_reach(variances, seeds, items, alpha, alternative)

    def gap(difference: float) -> float:
        return _power_two_way(difference, reach, error, alternative) - power

    highest = 4 * error
    if highest == 0:
        return 0.0
    while gap(highest) < 0:
        highest *= 2
    return float(optimize.brentq(gap, 0.0, highest, xtol=1e-10 * highest))


def _power_two_way(difference: float, reach: FloatArray, error: float, alternative: Alternative) -> float:
    if error == 0:
        return float(difference != 0)
    above, below = special.ndtr((difference - reach) / error), special.ndtr((-difference - reach) / error)
    found = {Alternative.GREATER: above, Alternative.LESS: below, Alternative.TWO_SIDED: above + below}[alternative]
    return float(found.mean())


def _two_way_reach(
    variances: tuple[float, float, float], seeds: int, items: int, alpha: float, alternative: Alternative
) -> tuple[FloatArray, float]:
    """How far a mean must lie from 0 to be found, over the law of a study's mean squares; and its true error.

    Mean squares follow chi-squared laws, independent of one another and of the mean. They are taken at the points of a
    fixed Sobol sequence, so that equal designs have equal plans.
    """
    expected = expected_mean_squares(variances, seeds, items)
    points = stats.qmc.Sobol(3, scramble=True, seed=0).random(_DRAWS)
    dfs = (seeds - 1, items - 1, (seeds - 1) * (items - 1))
    squares = [
        mean_square * stats.chi2.ppf(points[:, axis], df) / df
        for axis, (mean_square, df) in enumerate(
            zip((expected.seed, expected.item, expected.residual), dfs, strict=True)
        )
    ]
    seen = [two_way_estimate(MeanSquares(seeds, items, 0.0, *row)) for row in zip(*squares, strict=True)]
    tail = alpha / 2 if alternative is Alternative.TWO_SIDED else alpha
    critical = stats.t.isf(tail, np.array([each.df for each in seen]))
    variance = (expected.seed + expected.item - expected.residual) / (seeds * items)
    return critical * np.array([each.se for each in seen]), float(np.sqrt(variance))


def expected_mean_squares(variances: tuple[float, float, float], seeds: int, items: int) -> MeanSquares:
    """Mean squares of a design at its components of variance (seed, item, residual)."""
    seed, item, residual = variances
    if min(variances) < 0 or seeds < 2 or items < 2:
        raise ValueError(f"variances {variances} must not be negative, and 2 seeds and 2 items are the least")
    return MeanSquares(seeds, items, 0.0, residual + items * seed, residual + seeds * item, residual)


def _noncentral_power(noncentrality: float, df: float, alpha: float, alternative: Alternative) -> float:
    match alternative:
        case Alternative.GREATER:
            return float(stats.nct.sf(t_quantile(1 - alpha, df), df, noncentrality))
        case Alternative.LESS:
            return float(stats.nct.sf(t_quantile(1 - alpha, df), df, -noncentrality))
        case Alternative.TWO_SIDED:
            critical = t_quantile(1 - alpha / 2, df)
            return float(np.sum(stats.nct.sf(critical, df, [noncentrality, -noncentrality])))


def _detectable_noncentrality(
    df: float, power: float, alpha: float, alternative: Alternative = Alternative.TWO_SIDED
) -> float:
    def gap(noncentrality: float) -> float:
        return _noncentral_power(noncentrality, df, alpha, alternative) - power

    highest = 4.0
    while gap(highest) < 0:
        highest *= 2
    return float(optimize.brentq(gap, 0.0, highest, xtol=1e-10))
