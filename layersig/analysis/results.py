"""Values that every part of the analysis returns: an interval, an estimate with its error, a p-value."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from layersig.analysis.quantiles import t_quantile

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
        """Whether `value` lies between the ends, ends included."""
        return self.low <= value <= self.high


class Effect(Protocol):
    """A value with everything that may be said of its error: one object, so that what is shown is what was tested."""

    @property
    def value(self) -> float:
        """The value."""

    @property
    def se(self) -> float:
        """Its standard error, in the same unit; never 0 where nothing happened to vary."""

    @property
    def df(self) -> float:
        """Degrees of freedom of the standard error; infinite where the law is normal."""

    def interval(self, level: float = 0.95) -> Interval:
        """Two-sided interval."""

    def p_value(self, null: float = 0.0, alternative: Alternative = Alternative.TWO_SIDED) -> float:
        """P-value of the test that the truth is `null`."""

    def mirrored(self) -> Self:
        """The same effect with its sign changed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate whose studentised error is referred to a t distribution.

    Attributes:
        value: The estimate.
        se: Its standard error, in the same unit.
        df: Degrees of freedom of the standard error; infinite means the normal law.
        centre: Centre of intervals and tests where it is not the value itself: the mean with the pseudo-items of
            `floors`.
        reach: Least and largest value that the truth may have; intervals end there.
    """

    value: float
    se: float
    df: float
    centre: float | None = None
    reach: tuple[float, float] = (-np.inf, np.inf)

    def interval(self, level: float = 0.95) -> Interval:
        """Central t interval."""
        return Interval(*self._ends(t_quantile((1 + level) / 2, self.df)), level)

    def lower_bound(self, level: float = 0.95) -> float:
        """One-sided lower confidence bound."""
        return self._ends(t_quantile(level, self.df))[0]

    def upper_bound(self, level: float = 0.95) -> float:
        """One-sided upper confidence bound."""
        return self._ends(t_quantile(level, self.df))[1]

    def p_value(self, null: float = 0.0, alternative: Alternative = Alternative.TWO_SIDED) -> float:
        """P-value of the t test of `value == null`; 1 where the estimate shows no variation.

        An observed error of 0 is an unknown one, and evidence of nothing.
        """
        if not self.se > 0:
            return 1.0
        t = (self._middle - null) / self.se
        match alternative:
            case Alternative.GREATER:
                return float(stats.t.sf(t, self.df))
            case Alternative.LESS:
                return float(stats.t.cdf(t, self.df))
            case Alternative.TWO_SIDED:
                return min(1.0, 2 * float(stats.t.sf(abs(t), self.df)))

    def mirrored(self) -> "Estimate":
        """The estimate with its sign changed."""
        centre = None if self.centre is None else -self.centre
        return replace(self, value=-self.value, centre=centre, reach=(-self.reach[1], -self.reach[0]))

    @property
    def _middle(self) -> float:
        return self.value if self.centre is None else self.centre

    def _ends(self, quantile: float) -> tuple[float, float]:
        width = quantile * self.se
        return max(self._middle - width, self.reach[0]), min(self._middle + width, self.reach[1])


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

    Also the p-value of an arm among `K` tuned matched-random arms; it can never be below 1 / (K + 1), so 19 random
    arms are the least for 5 %.

    Args:
        observed: The statistic on the data.
        null: Draws, shape (K,), exchangeable with `observed` under the null hypothesis.
        alternative: Which direction counts as extreme. Two-sided doubles the smaller tail.

    Returns:
        The p-value with K resamples.

    Raises:
        ValueError: `null` is empty or not one-dimensional.

    Source:
        Phipson and Smyth 2010, "Permutation p-values should never be zero". Ties count as extreme, see `at_least`.
    """
    if null.ndim != 1 or null.size == 0:
        raise ValueError(f"null must be a non-empty vector of draws, got shape {null.shape}")
    above, below = ((1 + at_least(sign * observed, sign * null)) / (null.size + 1) for sign in (1.0, -1.0))
    p = {Alternative.GREATER: above, Alternative.LESS: below, Alternative.TWO_SIDED: min(1.0, 2 * min(above, below))}
    return PValue(observed, p[alternative], null.size)


def at_least(observed: float, null: FloatArray) -> int:
    """How many draws are as large as an observed statistic or larger.

    A relative tolerance of 1e-9 keeps sums taken in another order from breaking ties.

    Args:
        observed: The statistic on the data.
        null: Draws, shape (K,).
    """
    return int(np.count_nonzero(null >= observed - 1e-9 * max(1.0, abs(observed))))
