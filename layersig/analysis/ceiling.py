"""Do the seeds of one ranking agree above chance? What they agree on is the noise ceiling of every other overlap."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.identity import residual_agreement
from layersig.analysis.overlap import uniform_law
from layersig.analysis.results import Estimate, FloatArray, IntArray, Interval

MIN_SEEDS_FOR_CEILING = 3
"""With two seeds there is one overlap, and no error of it that the layers' dependence leaves intact."""


class CeilingVerdict(StrEnum):
    """What the seeds of one ranking may show."""

    ABOVE_CHANCE = "above chance"
    NOT_SHOWN = "not shown to be above chance"
    ALIKE = "the seeds rank alike"
    TOO_FEW_SEEDS = "too few seeds to tell"
    NO_SEED = "the ranking depends on no seed"

    @property
    def above_chance(self) -> bool | None:
        """Whether agreement above chance is established; None where it cannot be determined."""
        match self:
            case CeilingVerdict.ABOVE_CHANCE | CeilingVerdict.ALIKE:
                return True
            case CeilingVerdict.NOT_SHOWN:
                return False
            case CeilingVerdict.TOO_FEW_SEEDS | CeilingVerdict.NO_SEED:
                return None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Agreement of the seeds of one ranking.

    Attributes:
        seeds: Number of seeds.
        estimate: Mean agreement over pairs of seeds, 0 at chance and 1 for identity, with its jackknife error; None
            with fewer than two seeds.
        p: One-sided p-value of "no agreement"; None where there is no test.
        alike: Whether all seeds rank the layers in the same order, ties included, and not all layers alike.
    """

    seeds: int
    estimate: Estimate | None
    p: float | None
    alike: bool

    def interval(self, level: float) -> Interval | None:
        """Jackknife interval; None where two seeds leave no error, or seeds that rank alike leave none."""
        return None if self.estimate is None or self.p is None else self.estimate.interval(level)

    def verdict(self, adjusted_p: float | None, alpha: float) -> CeilingVerdict:
        """The conclusion at a level, with the p-value adjusted over the family that this test belongs to."""
        if self.alike:
            return CeilingVerdict.ALIKE
        if adjusted_p is None:
            return CeilingVerdict.TOO_FEW_SEEDS
        return CeilingVerdict.ABOVE_CHANCE if adjusted_p <= alpha else CeilingVerdict.NOT_SHOWN


def noise_ceiling(scores: FloatArray, k: int) -> Ceiling:
    """Test whether the seeds of one ranking agree above chance at k, by Kuncheva's kappa.

    The null hypothesis is that runs share nothing: the expected kappa of two of them is 0. Whole runs are left out, so
    scores may depend on one another within a run in any way, over depth or within a block. Without any agreement,
    kappas of different pairs of runs are uncorrelated, and the jackknife variance exceeds the true one by a factor of
    2 (S - 1) / (S - 2), which the test takes off; its error is never below that of rankings in random order, since few
    kappas may coincide. The interval keeps the jackknife error, which also holds where runs agree.

    Args:
        scores: Shape (seeds, N); higher is more important.
        k: Size of the selections, 0 < k < N.
    """
    law = uniform_law(scores.shape[1], k, k)
    spread = law.sd / (law.largest - law.mean)
    return _ceiling(scores, spread, lambda runs: agreement_jackknife_runs(scores, runs, k).within)


def residual_ceiling(scores: FloatArray, types: IntArray, depths: IntArray) -> Ceiling:
    """Test whether the seeds of one ranking agree on single layers, beyond module type and a cubic in depth.

    The null hypothesis is that runs share type and smooth depth alone; the test is that of `noise_ceiling`, of
    `layersig.analysis.identity.residual_agreement`.

    Args:
        scores: Shape (seeds, N).
        types: Type of each layer, shape (N,).
        depths: Depth of each layer, shape (N,).
    """
    spread = 1 / np.sqrt(scores.shape[1] - 1)
    return _ceiling(scores, spread, lambda runs: residual_agreement(scores, runs, types, depths))


def _ceiling(scores: FloatArray, spread: float, agreement: Callable[[RunDesign], Estimate]) -> Ceiling:
    """`spread` is the standard deviation of the agreement of two runs whose layers are in random order."""
    seeds = len(scores)
    if seeds < 2:
        return Ceiling(seeds, None, None, alike=False)
    ranks = stats.rankdata(scores, axis=1)
    alike = bool(np.all(ranks == ranks[0]) and np.ptp(ranks[0]) > 0)
    estimate = agreement(RunDesign(np.zeros(seeds, dtype=np.int64)))
    if alike or seeds < MIN_SEEDS_FOR_CEILING:
        return Ceiling(seeds, estimate, None, alike)
    least = spread * np.sqrt(2 / (seeds * (seeds - 1)))
    error = max(estimate.se * np.sqrt((seeds - 2) / (2 * (seeds - 1))), least)
    return Ceiling(seeds, estimate, float(stats.t.sf(estimate.value / error, estimate.df)), alike)
