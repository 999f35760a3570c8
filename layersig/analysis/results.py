"""Values that every part of the analysis returns: an interval, an estimate with its error, a p-value."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Alternative(StrEnum):
    """Direction of the effect that a test looks for."""

    GREATER = "greater"
    LESS = "less"
    TWO_SIDED = "two-sided"


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval; an end may be infinite.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Nominal coverage, for instance 0.95.
    """

    low: float
    high: float
    level: float

    @property
    def half_width(self) -> float:
        """Half of the distance between the ends."""
        return (self.high - self.low) / 2

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies between the ends, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate whose studentised error is referred to a t distribution.

    Attributes:
        value: The estimate.
        se: Its standard error, in the same unit.
        df: Degrees of freedom of the standard error; infinite means the normal law.
    """

    value: float
    se: float
    df: float

    def interval(self, level: float = 0.95) -> Interval:
        """Central t interval."""
        reach = float(stats.t.ppf((1 + level) / 2, self.df)) * self.se
        return Interval(self.value - reach, self.value + reach, level)

    def with_least_se(self, least: float) -> "Estimate":
        """The estimate with a standard error of `least` or more."""
        return self if self.se >= least else replace(self, se=least)

    def lower_bound(self, level: float = 0.95) -> float:
        """One-sided lower confidence bound."""
        return self.value - float(stats.t.ppf(level, self.df)) * self.se

    def upper_bound(self, level: float = 0.95) -> float:
        """One-sided upper confidence bound."""
        return self.value + float(stats.t.ppf(level, self.df)) * self.se

    def p_value(self, null: float = 0.0, alternative: Alternative = Alternative.TWO_SIDED) -> float:
        """P-value of the t test of ``value == null``; 1 when the estimate shows no variation and no difference."""
        distance = self.value - null
        t = distance / self.se if self.se > 0 else float(np.sign(distance)) * np.inf if distance else 0.0
        match alternative:
            case Alternative.GREATER:
                return float(stats.t.sf(t, self.df))
            case Alternative.LESS:
                return float(stats.t.cdf(t, self.df))
            case Alternative.TWO_SIDED:
                return min(1.0, 2 * float(stats.t.sf(abs(t), self.df)))


@dataclass(frozen=True, slots=True)
class PValue:
    """The outcome of a significance test.

    Attributes:
        statistic: Observed value of the test statistic.
        p: P-value.
        resamples: Number of Monte Carlo draws, or None when the law is exact.
    """

    statistic: float
    p: float
    resamples: int | None


def monte_carlo_p(observed: float, null: FloatArray, alternative: Alternative = Alternative.GREATER) -> PValue:
    """P-value of an observed statistic among draws under the null hypothesis, (1 + #extreme) / (1 + K).

    Also the p-value of an arm among ``K`` tuned matched-random arms; it can never be below 1 / (K + 1), so 19 random
    arms are the least for 5 %.

    Args:
        observed: The statistic on the data.
        null: Draws, shape (K,), exchangeable with ``observed`` under the null hypothesis.
        alternative: Which direction counts as extreme. Two-sided doubles the smaller tail.

    Returns:
        The p-value with K resamples.

    Raises:
        ValueError: ``null`` is empty or not one-dimensional.

    Source:
        Phipson and Smyth 2010, "Permutation p-values should never be zero". Ties count as extreme; a relative
        tolerance of 1e-9 keeps sums taken in another order from breaking them.
    """
    if null.ndim != 1 or null.size == 0:
        raise ValueError(f"null must be a non-empty vector of draws, got shape {null.shape}")
    tolerance = 1e-9 * max(1.0, abs(observed))
    above = (1 + int(np.count_nonzero(null >= observed - tolerance))) / (null.size + 1)
    below = (1 + int(np.count_nonzero(null <= observed + tolerance))) / (null.size + 1)
    p = {Alternative.GREATER: above, Alternative.LESS: below, Alternative.TWO_SIDED: min(1.0, 2 * min(above, below))}
    return PValue(observed, p[alternative], null.size)
