"""Confidence sets of a ratio of two estimates, which may be unbounded."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from layersig.analysis.quantiles import t_quantile
from layersig.analysis.results import FloatArray


class SetShape(StrEnum):
    """Shape of a Fieller set."""

    INTERVAL = "interval"
    TWO_RAYS = "two rays"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class RatioSet:
    """A ratio with its Fieller set.

    Attributes:
        ratio: Numerator over denominator.
        shape: `INTERVAL` is [low, high]; `TWO_RAYS` is everything outside of (low, high); `EVERYTHING` excludes
            no ratio at all.
        low: Lower end, -inf for `EVERYTHING`.
        high: Upper end, +inf for `EVERYTHING`.
        level: Nominal coverage.
    """

    ratio: float
    shape: SetShape
    low: float
    high: float
    level: float

    def contains(self, ratio: float) -> bool:
        """Whether the set holds a ratio."""
        match self.shape:
            case SetShape.INTERVAL:
                return self.low <= ratio <= self.high
            case SetShape.TWO_RAYS:
                return ratio <= self.low or ratio >= self.high
            case SetShape.EVERYTHING:
                return True

    def from_zero(self) -> "RatioSet":
        """The set of a ratio that cannot be negative: an interval starts at 0 or above."""
        return replace(self, low=max(0.0, self.low)) if self.shape is SetShape.INTERVAL else self

    def __str__(self) -> str:
        """The set in words, "unbounded" where it is."""
        match self.shape:
            case SetShape.INTERVAL:
                return f"[{self.low:.3g}, {self.high:.3g}]"
            case SetShape.TWO_RAYS:
                return f"(-inf, {self.low:.3g}] or [{self.high:.3g}, inf): unbounded"
            case SetShape.EVERYTHING:
                return "(-inf, inf): the data exclude no ratio"


def fieller_set(
    numerator: float, denominator: float, covariance: FloatArray, df: float, level: float = 0.95
) -> RatioSet:
    """Fieller's set of all r for which the t test of `numerator - r denominator = 0` does not reject.

    Args:
        numerator: Estimate above the line.
        denominator: Estimate below the line.
        covariance: Their covariance, shape (2, 2).
        df: Degrees of freedom of the covariance; infinite means the normal law.
        level: Coverage.

    Raises:
        ValueError: The covariance is not 2 x 2.

    Source:
        Fieller 1954, "Some problems in interval estimation".
    """
    if covariance.shape != (2, 2):
        raise ValueError(f"covariance must be 2 x 2, got shape {covariance.shape}")
    t2 = t_quantile((1 + level) / 2, df) ** 2
    a = denominator**2 - t2 * float(covariance[1, 1])
    b = numerator * denominator - t2 * float(covariance[0, 1])
    c = numerator**2 - t2 * float(covariance[0, 0])
    ratio = numerator / denominator if denominator != 0 else float("nan")
    discriminant = b * b - a * c
    if a == 0 or (a < 0 and discriminant <= 0):
        return RatioSet(ratio, SetShape.EVERYTHING, -np.inf, np.inf, level)
    root = np.sqrt(max(0.0, discriminant))
    ends = sorted(((b - root) / a, (b + root) / a))
    return RatioSet(ratio, SetShape.INTERVAL if a > 0 else SetShape.TWO_RAYS, float(ends[0]), float(ends[1]), level)
