"""The claim "these cells share layers": an equivalence test of agreement between cells against the noise ceiling."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.results import Alternative, Estimate, FloatArray
from layersig.analysis.selections import membership

MIN_SEEDS_FOR_SHARING = 5
_NO_NOISE = 1e-12


class SharingVerdict(StrEnum):
    """What the sharing test may conclude."""

    SHARED = "shares layers"
    NOT_SHOWN = "sharing not shown"
    TOO_FEW_SEEDS = "too few seeds for a sharing verdict"
    NO_CEILING = "no noise ceiling: the seeds of a data set are not shown to agree"
    EQUAL = "the same layers in every run"
    NO_NOISE = "no noise: the seeds of a data set rank alike"


@dataclass(frozen=True, slots=True)
class RatioBound:
    """One-sided lower confidence bound of kappa_between / kappa_within.

    Attributes:
        ratio: The estimate; NaN where the seeds of a cell agree no better than chance.
        lower: Lower bound; -inf where the noise ceiling is not shown to be above 0, NaN with fewer than three seeds.
        level: Confidence of the bound.
        noiseless: Whether leaving out a seed changes nothing, so that there is no noise to compare with.
        equal: Whether seeds differ, but the cells select the same elements with every seed.
        estimate: The ratio with its jackknife error; None where it is unknown.
        ceiling_p: One-sided p-value of the noise ceiling being 0.
    """

    ratio: float
    lower: float
    level: float
    noiseless: bool = False
    equal: bool = False
    estimate: Estimate | None = None
    ceiling_p: float = 1.0

    def p_value(self, margin: float) -> float | None:
        """One-sided p-value of "the ratio is no more than the margin, or there is no ceiling"; None if unknown.

        Source:
            The larger p of two tests that must both reject: Berger 1982.
        """
        if self.estimate is None or self.noiseless or self.equal:
            return None
        return max(self.estimate.p_value(margin, Alternative.GREATER), self.ceiling_p)


@dataclass(frozen=True, slots=True)
class SharingTest:
    """Outcome of the sharing test.

    Attributes:
        bound: Estimate and lower bound of the ratio.
        margin: What the bound must exceed.
        fewest_seeds: Runs in the smallest cell.
        verdict: The conclusion.
    """

    bound: RatioBound
    margin: float
    fewest_seeds: int
    verdict: SharingVerdict

    @property
    def p(self) -> float | None:
        """P-value of the claim that cells share layers; None where the test may give no verdict."""
        if self.fewest_seeds < MIN_SEEDS_FOR_SHARING or self.bound.noiseless or self.bound.equal:
            return None
        return 1.0 if self.verdict is SharingVerdict.NO_CEILING else self.bound.p_value(self.margin)

    def corrected(self, adjusted_p: float | None, alpha: float) -> "SharingTest":
        """The test with the verdict that the p-value adjusted over its family allows."""
        if adjusted_p is None or self.verdict is not SharingVerdict.SHARED or adjusted_p <= alpha:
            return self
        return replace(self, verdict=SharingVerdict.NOT_SHOWN)


def ratio_bound_jackknife_runs(scores: FloatArray, design: RunDesign, k: int, level: float = 0.95) -> RatioBound:
    """Lower bound of the ratio by delete-one-run jackknife with t (see `agreement_jackknife_runs`).

    The bound is -inf when the noise ceiling itself is not shown to be above 0.

    Raises:
        ValueError: Shapes do not fit, a cell has a single run, or there is one cell only.
    """
    if np.unique(design.cells).size < 2:
        raise ValueError("sharing compares cells: at least two are needed")
    agreement = agreement_jackknife_runs(scores, design, k)
    ratio, ceiling = agreement.ratio, agreement.within.lower_bound(level)
    lower = -np.inf if ceiling <= 0 else ratio.lower_bound(level)
    still = ceiling > 0 and ratio.se < _NO_NOISE
    equal = still and agreement.within.se > _NO_NOISE and _equal(membership(scores, k), design)
    return RatioBound(
        ratio.value,
        lower,
        level,
        noiseless=still and not equal,
        equal=equal,
        estimate=ratio if np.isfinite(ratio.value) and np.isfinite(ratio.se) else None,
        ceiling_p=agreement.within.p_value(0.0, Alternative.GREATER),
    )


def _equal(selected: FloatArray, design: RunDesign) -> bool:
    """Whether runs of one seed select the same in every cell."""
    if design.seeds is None:
        return False
    return all(np.ptp(selected[design.seeds == seed], axis=0).max() == 0 for seed in np.unique(design.seeds))


def sharing_test(bound: RatioBound, design: RunDesign, margin: float = 0.9) -> SharingTest:
    """Decide whether cells share layers.

    Args:
        bound: Lower bound of the ratio.
        design: Cells of the runs, for the number of seeds.
        margin: Least share of the noise ceiling that counts as "the same layers".

    Returns:
        `SHARED` when the bound is above the margin; never with fewer than five seeds in a cell, nor without a noise
        ceiling to compare with: when the seeds of a cell do not agree above chance (a constant scorer, or one tied
        across the boundary), or when nothing varies between runs. Cells that select alike with every seed, such as
        scorers that read one training, need no test: `EQUAL`. A ratio that fails the test is "not shown", not
        "different": see `attenuation.corrected_between` for a difference.
    """
    if bound.equal:
        verdict = SharingVerdict.EQUAL
    elif bound.noiseless:
        verdict = SharingVerdict.NO_NOISE
    elif bound.lower == -np.inf:
        verdict = SharingVerdict.NO_CEILING
    elif design.fewest_seeds < MIN_SEEDS_FOR_SHARING:
        verdict = SharingVerdict.TOO_FEW_SEEDS
    else:
        verdict = SharingVerdict.SHARED if bound.lower > margin else SharingVerdict.NOT_SHOWN
    return SharingTest(bound, margin, design.fewest_seeds, verdict)
