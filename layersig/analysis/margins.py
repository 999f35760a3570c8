"""Claims against a margin: superiority by it, non-inferiority, equivalence."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy import stats

from layersig.analysis.results import Alternative, Estimate


@dataclass(frozen=True, slots=True)
class MarginTest:
    """A one-sided test, or a pair of them, against a margin.

    Attributes:
        p: P-value.
        margin: The margin, positive, in the unit of the estimate.
        established: Whether p is at most alpha.
    """

    p: float
    margin: float
    established: bool


def superiority_by(estimate: Estimate, margin: float, alpha: float = 0.05) -> MarginTest:
    """One-sided test that the effect exceeds ``margin``."""
    p = estimate.p_value(_positive(margin), Alternative.GREATER)
    return MarginTest(p, margin, p <= alpha)


def non_inferiority(estimate: Estimate, margin: float, alpha: float = 0.05) -> MarginTest:
    """One-sided test that the effect is above ``-margin``; the same as the lower 1 - alpha bound above -margin."""
    p = estimate.p_value(-_positive(margin), Alternative.GREATER)
    return MarginTest(p, margin, p <= alpha)


def tost(estimate: Estimate, margin: float, alpha: float = 0.05) -> MarginTest:
    """Two one-sided tests of equivalence; the same as the 1 - 2 alpha interval inside (-margin, margin).

    Source:
        Schuirmann 1987.
    """
    below = estimate.p_value(-_positive(margin), Alternative.GREATER)
    above = estimate.p_value(margin, Alternative.LESS)
    p = max(below, above)
    return MarginTest(p, margin, p <= alpha)


def least_se_of_shares(margin: float, items: int) -> float:
    """Least standard error of a mean of -1, 0 and 1 over items whose truth is ``margin`` away from 0.

    Such items vary by margin (1 - margin) or more, which a sample hides when few or none of them happen to differ: the
    observed error is then near 0, and every claim that the difference is below the margin would seem established. With
    the least error, items that never differ establish it from about 3 / margin of them on, as the exact test does.

    Source:
        The variance under the null hypothesis, as in Tango 1998, "Equivalence test and confidence interval for the
        difference in proportions for the paired-sample design"; here its smallest value.
    """
    return float(np.sqrt(min(1.0, _positive(margin)) * max(0.0, 1 - margin) / items))


def least_items_of_shares(margin: float, df: float, alpha: float = 0.05) -> int:
    """Items from which on :func:`least_se_of_shares` lets items that never differ exclude the margin."""
    return ceil(float(stats.t.ppf(1 - alpha, df)) ** 2 * max(0.0, 1 - margin) / _positive(margin))


def _positive(margin: float) -> float:
    if margin <= 0:
        raise ValueError(f"a margin must be positive, got {margin}")
    return margin
