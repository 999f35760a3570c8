"""The claim "as good as all layers": preserved effect, in a fixed order of steps."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from layersig.analysis import floors
from layersig.analysis.results import FloatArray

MIN_SEEDS_FOR_ONE_CONTROL = 3
"""Training runs from which on a single random set may stand for random sets: with fewer, how sets differ is unknown,
and an arm that is itself a random set beats another one in up to 28 % of studies."""


class AsGood(StrEnum):
    """How far the fixed sequence came."""

    NOT_TESTED = "not tested: all layers are not shown to gain more than the margin"
    NOT_SHOWN = "not shown to be as good as all layers"
    KEEPS_BUT_WORSE = "keeps what was asked for, but is worse than all layers"
    AS_GOOD = "as good as all layers"
    AS_GOOD_AND_SELECTIVE = "as good as all layers and better than matched random"


@dataclass(frozen=True, slots=True)
class Steps:
    """One-sided p-values of the steps, each meant only after the one before it.

    Attributes:
        gains: (i) All layers gain more than the margin over the untouched model.
        keeps: (ii) The arm keeps the share of the gain that was asked for, or loses less than the declared margin.
        beats_random: (iii) The arm beats matched random; None where nothing can tell.
    """

    gains: float
    keeps: float
    beats_random: float | None

    @property
    def as_good(self) -> float:
        """P-value of "as good as all layers": both of its steps hold."""
        return max(self.gains, self.keeps)

    @property
    def selective(self) -> float | None:
        """P-value of "and better than matched random": all steps hold; None where nothing can tell."""
        return None if self.beats_random is None else max(self.as_good, self.beats_random)


def preserved(arm_gain: FloatArray, all_gain: FloatArray, share: float, *, solved: bool) -> FloatArray:
    """Unit values whose mean is above 0 where an arm keeps more than a share of the gain of all layers.

    arm - base - share (all - base), a linear contrast of one paired table; its lower bound above 0 says the same as
    Fieller's lower bound of the ratio above the share, and needs no denominator.

    Args:
        arm_gain: Arm minus base in the favourable direction, shape (seeds, units).
        all_gain: All layers minus base, same shape.
        share: Share that is to be kept, 0 to 1.
        solved: Whether items are right or wrong. The pseudo-items of `floors.RATIO_OF_DIFFERENCES` are then added,
            so that items that happen to agree are no certainty.

    Source:
        Preserved effect: Rothmann et al. 2003, "Design and analysis of non-inferiority mortality trials in oncology".
    """
    if solved:
        tables = zip((arm_gain, all_gain), floors.RATIO_OF_DIFFERENCES, strict=True)
        arm_gain, all_gain = (floors.with_items(table, added) for table, added in tables)
    return np.asarray(arm_gain - share * all_gain)


def conclude(gains: float, as_good: float, selective: float | None, *, worse: bool, alpha: float = 0.05) -> AsGood:
    """What the sequence allows to be said.

    Args:
        gains: P-value of step (i).
        as_good: P-value of steps (i) and (ii), adjusted over the family of claims.
        selective: P-value of all steps, adjusted over the family of claims; None where it cannot be tested.
        worse: Whether the arm is shown to be worse than all layers: it may keep 95 % of the gain and still be worse,
            and is then not called as good.
        alpha: Level.
    """
    if gains > alpha:
        return AsGood.NOT_TESTED
    if as_good > alpha:
        return AsGood.NOT_SHOWN
    if worse:
        return AsGood.KEEPS_BUT_WORSE
    return AsGood.AS_GOOD_AND_SELECTIVE if selective is not None and selective <= alpha else AsGood.AS_GOOD
