"""Verdicts: what one comparison allows to be concluded.

A direction (better, worse) needs the p-value adjusted by Holm's method over the family of the comparison; a size (by
more than the margin, equivalent, not worse) needs the interval at the level divided by the number of tests in the
family. The chance that a family holds a false verdict is then about alpha where the intervals keep such levels
(docs/which-test-holds.md, section 9).
"""

from enum import StrEnum
from typing import Protocol

from layersig.analysis.results import Interval


class Evidence(Protocol):
    """A difference, arm minus reference, whose interval is known at every level."""

    @property
    def value(self) -> float:
        """The estimate."""

    def interval(self, level: float) -> Interval:
        """The two-sided interval of a level."""


class Scope(StrEnum):
    """What a comparison is about."""

    CHECKPOINTS = "checkpoints"
    METHOD = "method"
    METHOD_AND_CHECKPOINT = "method against a checkpoint"
    """Several training runs of one side against a single one of the other, about whose method nothing can be said."""


class Verdict(StrEnum):
    """Everything that a comparison may conclude."""

    BETTER_BY_MARGIN = "better by more than the margin"
    BETTER_SIZE_UNSETTLED = "better, size unsettled"
    BETTER_WITHIN_MARGIN = "better but within the margin"
    EQUIVALENT = "equivalent"
    NOT_WORSE = "not worse by more than the margin"
    NOT_BETTER = "not better by more than the margin"
    WORSE_WITHIN_MARGIN = "worse but within the margin"
    WORSE_SIZE_UNSETTLED = "worse, size unsettled"
    WORSE_BY_MARGIN = "worse by more than the margin"
    UNDECIDED = "undecided"
    NO_ASSAY = "undecided: all layers are not shown to move the untouched model"
    REFUSED = "refused: a claim about a method needs several training runs per arm"

    @property
    def better(self) -> bool:
        """Whether it says better, in any form."""
        return self in (Verdict.BETTER_BY_MARGIN, Verdict.BETTER_SIZE_UNSETTLED, Verdict.BETTER_WITHIN_MARGIN)

    @property
    def worse(self) -> bool:
        """Whether it says worse, in any form."""
        return self in (Verdict.WORSE_BY_MARGIN, Verdict.WORSE_SIZE_UNSETTLED, Verdict.WORSE_WITHIN_MARGIN)

    @property
    def sameness(self) -> bool:
        """Whether it says that a difference is small, which a task that shows no differences would say of anything."""
        return self in (Verdict.EQUIVALENT, Verdict.NOT_WORSE, Verdict.NOT_BETTER)

    @property
    def open(self) -> bool:
        """Whether it says nothing about the arms."""
        return not (self.better or self.worse or self.sameness)


def verdict_of(
    evidence: Evidence, margin: float, alpha: float = 0.05, p: float | None = None, tests: int = 1
) -> tuple[Verdict, Interval]:
    """Verdict of one difference, where positive means better, and the interval that it follows from.

    Better and worse need the adjusted p-value, and the 1 - alpha interval beside 0. Sizes follow from the interval at
    1 - alpha / tests, equivalence and the one-sided claims from the one at 1 - 2 alpha / tests. Holm's method may find
    a direction where the first of these still holds 0; that interval then ends at 0, as intervals compatible with the
    method do.

    Args:
        evidence: Arm minus reference.
        margin: Smallest difference that matters, positive.
        alpha: Level of the family.
        p: P-value of "no difference", adjusted over the family; None where there is no test beside the interval.
        tests: Tests in the family.

    Source:
        Holm 1979; the ends at 0: Strassburger and Bretz 2008, "Compatible simultaneous lower confidence bounds for the
        Holm procedure and other Bonferroni-based closed tests".
    """
    if margin <= 0:
        raise ValueError(f"a margin must be positive, got {margin}")
    wide = evidence.interval(1 - alpha / tests)
    alone = wide if p is None else evidence.interval(1 - alpha)
    significant = p is None or p <= alpha
    if significant and alone.low > 0:
        found = Interval(max(wide.low, 0.0), wide.high, wide.level)
        if found.low > margin:
            return Verdict.BETTER_BY_MARGIN, found
        return (Verdict.BETTER_WITHIN_MARGIN if found.high < margin else Verdict.BETTER_SIZE_UNSETTLED), found
    if significant and alone.high < 0:
        found = Interval(wide.low, min(wide.high, 0.0), wide.level)
        if found.high < -margin:
            return Verdict.WORSE_BY_MARGIN, found
        return (Verdict.WORSE_WITHIN_MARGIN if found.low > -margin else Verdict.WORSE_SIZE_UNSETTLED), found
    narrow = evidence.interval(1 - 2 * alpha / tests)
    if -margin < narrow.low and narrow.high < margin:
        return Verdict.EQUIVALENT, narrow
    if narrow.low > -margin:
        return Verdict.NOT_WORSE, narrow
    if narrow.high < margin:
        return Verdict.NOT_BETTER, narrow
    return Verdict.UNDECIDED, wide
