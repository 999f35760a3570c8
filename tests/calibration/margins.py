"""Tests against a margin: superiority by it, non-inferiority, equivalence; the reference that verdicts are held to."""

from dataclasses import dataclass

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


def _positive(margin: float) -> float:
    if margin <= 0:
        raise ValueError(f"a margin must be positive, got {margin}")
    return margin
