"""Claims against a margin: non-inferiority, equivalence, and the fixed sequence with assay sensitivity."""

from dataclasses import dataclass
from enum import StrEnum

from layersig.analysis.results import Alternative, Effect


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


def superiority_by(estimate: Effect, margin: float, alpha: float = 0.05) -> MarginTest:
    """One-sided test that the effect exceeds ``margin``."""
    p = estimate.p_value(_positive(margin), Alternative.GREATER)
    return MarginTest(p, margin, p <= alpha)


def non_inferiority(estimate: Effect, margin: float, alpha: float = 0.05) -> MarginTest:
    """One-sided test that the effect is above ``-margin``; the same as the lower 1 - alpha bound above -margin."""
    p = estimate.p_value(-_positive(margin), Alternative.GREATER)
    return MarginTest(p, margin, p <= alpha)


def tost(estimate: Effect, margin: float, alpha: float = 0.05) -> MarginTest:
    """Two one-sided tests of equivalence; the same as the 1 - 2 alpha interval inside (-margin, margin).

    Source:
        Schuirmann 1987.
    """
    below = estimate.p_value(-_positive(margin), Alternative.GREATER)
    above = estimate.p_value(margin, Alternative.LESS)
    p = max(below, above)
    return MarginTest(p, margin, p <= alpha)


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
    all_minus_base: Effect,
    arm_minus_all: Effect,
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
