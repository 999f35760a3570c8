"""What a design can detect, before it is run. There is no power after the fact: report the half-width instead."""

import numpy as np
from scipy import integrate, optimize, stats

from layersig.analysis.results import Alternative
from layersig.analysis.twoway import MeanSquares, two_way_estimate

_MOST_SEEDS = 1000


def power_t(
    difference: float, sd: float, n: float, alpha: float = 0.05, alternative: Alternative = Alternative.TWO_SIDED
) -> float:
    """Power of a one-sample (paired) t test.

    Args:
        difference: True mean difference; for ``LESS`` a negative number has power.
        sd: Standard deviation of the difference of one unit (seed or item), declared or from ``sd_upper_limit``.
        n: Units.
        alpha: Level.
        alternative: Direction.

    Source:
        Noncentral t law, Johnson, Kotz and Balakrishnan 1995, chapter 31.
    """
    return _noncentral_power(difference / (sd / float(np.sqrt(n))), n - 1, alpha, alternative)


def detectable_difference(sd: float, n: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest positive difference that a two-sided paired t test of ``n`` units finds with the given power."""
    return sd / float(np.sqrt(n)) * _detectable_noncentrality(n - 1, power, alpha)


def detectable_difference_discordant(discordance: float, items: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Detectable difference of two checkpoints on binary items that disagree on a share ``discordance`` of the items.

    Normal approximation, (z_{1-alpha/2} + z_power) sqrt(discordance / items) (Miller 2024, section 5).
    """
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    return z * float(np.sqrt(discordance / items))


def power_tost(true_difference: float, sd: float, n: int, margin: float, alpha: float = 0.05) -> float:
    """Exact power of the two one-sided t tests of equivalence of ``n`` paired units.

    Integrates over the law of the standard deviation, since both tests share it (Phillips 1990).

    Args:
        true_difference: True mean difference.
        sd: Standard deviation of the difference of one unit.
        n: Units.
        margin: Equivalence margin.
        alpha: Level of each test.
    """
    df, se = n - 1, sd / float(np.sqrt(n))
    root_df = float(np.sqrt(df))
    t = float(stats.t.ppf(1 - alpha, df))

    def inside(ratio: float) -> float:
        room = (margin - t * se * ratio) / se
        shift = true_difference / se
        density = float(stats.chi.pdf(ratio * root_df, df)) * root_df
        return density * float(stats.norm.cdf(room - shift) - stats.norm.cdf(-room - shift))

    return float(integrate.quad(inside, 0, margin / (t * se), limit=200)[0])


def sd_upper_limit(sd: float, df: float, level: float = 0.8) -> float:
    """Upper confidence limit of a standard deviation from a pilot, to plan with instead of the estimate itself.

    Source:
        Browne 1995, "On the use of a pilot sample for sample size determination".
    """
    return sd * float(np.sqrt(df / stats.chi2.ppf(1 - level, df)))


def smallest_sign_flip_p(n: int) -> float:
    """Smallest two-sided p-value that a sign-flip test of ``n`` units can reach."""
    return float(2.0 ** (1 - n))


def power_two_way(
    difference: float, variances: tuple[float, float, float], seeds: int, items: int, alpha: float = 0.05
) -> float:
    """Power of the two-way random-effects test of a mean difference.

    Args:
        difference: True mean difference.
        variances: Components (seed, item, residual) of one cell of the table of differences.
        seeds: Training runs per arm.
        items: Evaluation items.
        alpha: Level, two-sided.

    Returns:
        Noncentral t power with Satterthwaite's degrees of freedom at the expected mean squares.
    """
    planned = two_way_estimate(_expected_mean_squares(variances, seeds, items))
    return _noncentral_power(difference / planned.se, planned.df, alpha, Alternative.TWO_SIDED)


def detectable_two_way(
    variances: tuple[float, float, float], seeds: int, items: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest positive difference that :func:`power_two_way` finds with the given power."""
    planned = two_way_estimate(_expected_mean_squares(variances, seeds, items))
    return planned.se * _detectable_noncentrality(planned.df, power, alpha)


def seeds_for_half_width(ms: MeanSquares, half_width: float, level: float = 0.95) -> int | None:
    """Least number of seeds whose expected interval is no wider than wanted, the items staying as they are.

    Negative variance estimates count as zero.

    Returns:
        None when even 1,000 seeds do not suffice: then the items limit the precision.
    """
    seed, item, residual = ms.variances
    variances = max(0.0, seed), max(0.0, item), residual
    for seeds in range(2, _MOST_SEEDS + 1):
        if (
            two_way_estimate(_expected_mean_squares(variances, seeds, ms.items)).interval(level).half_width
            <= half_width
        ):
            return seeds
    return None


def _expected_mean_squares(variances: tuple[float, float, float], seeds: int, items: int) -> MeanSquares:
    seed, item, residual = variances
    if min(variances) < 0 or seeds < 2 or items < 2:
        raise ValueError(f"variances {variances} must not be negative, and 2 seeds and 2 items are the least")
    return MeanSquares(seeds, items, 0.0, residual + items * seed, residual + seeds * item, residual)


def _noncentral_power(noncentrality: float, df: float, alpha: float, alternative: Alternative) -> float:
    law = stats.nct(df, noncentrality)
    match alternative:
        case Alternative.GREATER:
            return float(law.sf(stats.t.ppf(1 - alpha, df)))
        case Alternative.LESS:
            return float(stats.nct.sf(stats.t.ppf(1 - alpha, df), df, -noncentrality))
        case Alternative.TWO_SIDED:
            critical = stats.t.ppf(1 - alpha / 2, df)
            return float(law.sf(critical) + stats.nct.sf(critical, df, -noncentrality))


def _detectable_noncentrality(df: float, power: float, alpha: float) -> float:
    def gap(noncentrality: float) -> float:
        return _noncentral_power(noncentrality, df, alpha, Alternative.TWO_SIDED) - power

    highest = 4.0
    while gap(highest) < 0:
        highest *= 2
    return float(optimize.brentq(gap, 0.0, highest, xtol=1e-10))
