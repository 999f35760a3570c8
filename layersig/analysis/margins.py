"""Claims against a margin: non-inferiority, equivalence, and the fixed sequence with assay sensitivity."""

from dataclasses import dataclass
from enum import StrEnum
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


class AsGoodAsAll(StrEnum):
    """How far the fixed sequence of :func:`as_good_as_all` came."""

    CANNOT_TELL = "this task cannot tell"
    WORSE_OR_UNDECIDED = "not shown to be as good as all layers"
    AS_GOOD = "as good as all layers, not shown to beat matched random"
    AS_GOOD_AND_SELECTIVE = "as good as all layers and better than matched random"


@dataclass(frozen=True, slots=True)
class FixedSequence:
    """Outcome of the fixed sequence; a step after the first failure is not tested and holds None.

    Attributes:
        assay: (i) all layers beat the untouched base by more than the margin.
        not_worse: (ii) the arm is not worse than all layers by more than the margin.
        beats_random_p: (iii) p-value of the arm against matched random.
        conclusion: The conclusion.
    """

    assay: MarginTest
    not_worse: MarginTest | None
    beats_random_p: float | None
    conclusion: AsGoodAsAll


def as_good_as_all(
    all_minus_base: Estimate,
    arm_minus_all: Estimate,
    beats_random_p: float,
    margin: float,
    alpha: float = 0.05,
) -> FixedSequence:
    """Test "as good as all layers" in the fixed order (i) assay sensitivity, (ii) non-inferiority, (iii) selectivity.

    Each step is tested at ``alpha`` and only after the one before it, which keeps the error of the whole at alpha.

    Args:
        all_minus_base: All layers minus the untouched base, higher is better.
        arm_minus_all: The arm minus all layers.
        beats_random_p: One-sided p-value of the arm against matched random: from ``monte_carlo_p`` over tuned random
            sets, or from the estimate of arm minus random.
        margin: Largest loss that still counts as "as good", positive.
        alpha: Level of each step.
    """
    assay = superiority_by(all_minus_base, margin, alpha)
    if not assay.established:
        return FixedSequence(assay, None, None, AsGoodAsAll.CANNOT_TELL)
    not_worse = non_inferiority(arm_minus_all, margin, alpha)
    if not not_worse.established:
        return FixedSequence(assay, not_worse, None, AsGoodAsAll.WORSE_OR_UNDECIDED)
    conclusion = AsGoodAsAll.AS_GOOD_AND_SELECTIVE if beats_random_p <= alpha else AsGoodAsAll.AS_GOOD
    return FixedSequence(assay, not_worse, beats_random_p, conclusion)


def _positive(margin: float) -> float:
    if margin <= 0:
        raise ValueError(f"a margin must be positive, got {margin}")
    return margin
