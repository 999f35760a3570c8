"""How early a ranking is there: agreement at a milestone of a training against the noise ceiling of its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from layersig.analysis.fieller import RatioSet, fieller_set
from layersig.analysis.jackknife import Jackknife, pair_mean, pair_means_without
from layersig.analysis.overlap import kuncheva
from layersig.analysis.results import Alternative, Estimate, FloatArray
from layersig.analysis.selections import membership
from layersig.analysis.sharing import MIN_SEEDS_FOR_SHARING


class Reach(StrEnum):
    """What the test of a milestone may conclude."""

    REACHED = "reaches the required share"
    NOT_SHOWN = "not shown to reach it"
    TOO_FEW_SEEDS = "cannot be tested: too few seeds"
    NO_CEILING = "cannot be tested: the ends of different runs are not shown to agree"
    NO_NOISE = "cannot be tested: the runs rank alike"


@dataclass(frozen=True, slots=True)
class MilestoneAgreement:
    """Agreement of a milestone with the ends of other runs, against the agreement of those ends.

    Attributes:
        agreement: Mean kappa of a run's top k at the milestone and another run's top k at its end.
        ceiling: Mean kappa of the top k of two runs at their ends.
        shares: `agreement / ceiling` with its Fieller set.
        excess: `agreement - required * ceiling`, which the test is about.
        required: Least share of the ceiling.
        seeds: Number of runs.
    """

    agreement: Estimate
    ceiling: Estimate
    shares: RatioSet
    excess: Estimate
    required: float
    seeds: int

    def obstacle(self, level: float) -> Reach | None:
        """Why there is no test at that level; None where there is one."""
        if self.seeds < MIN_SEEDS_FOR_SHARING:
            return Reach.TOO_FEW_SEEDS
        if not self.excess.se > 0 or not self.ceiling.se > 0:
            return Reach.NO_NOISE
        return None if self.ceiling.lower_bound(level) > 0 else Reach.NO_CEILING

    def p_value(self, level: float) -> float | None:
        """One-sided p-value of the agreement being at most the required share of the ceiling; None without a test."""
        return None if self.obstacle(level) else self.excess.p_value(0.0, Alternative.GREATER)

    def verdict(self, adjusted_p: float | None, level: float) -> Reach:
        """The conclusion from the corrected p-value."""
        if (obstacle := self.obstacle(level)) is not None or adjusted_p is None:
            return obstacle or Reach.NOT_SHOWN
        return Reach.REACHED if adjusted_p <= 1 - level else Reach.NOT_SHOWN


def milestone_agreement(
    early: FloatArray, end: FloatArray, k: int, required: float = 0.9, level: float = 0.95
) -> MilestoneAgreement:
    """Agreement of a milestone with the end of other runs, with delete-one-seed jackknife errors and a t law.

    A run is never compared with itself: a milestone and the end of one training share initialisation, order and most of
    the noise, so their agreement says little about other trainings. A seed is left out with its milestone and its end.

    Args:
        early: Scores at the milestone, shape (seeds, N); higher is more important.
        end: Scores at the end of the same runs, same shape.
        k: Size of the selections.
        required: Least share of the ceiling.
        level: Coverage of the set of the share.

    Returns:
        Estimates with (seeds - 1) degrees of freedom; errors are NaN with two seeds.

    Raises:
        ValueError: The shapes differ, or there are fewer than two seeds.
    """
    if early.shape != end.shape or early.ndim != 2 or len(end) < 2:
        raise ValueError(f"two score arrays of one shape (seeds >= 2, N) are needed, got {early.shape} and {end.shape}")
    seeds, n = end.shape
    at_milestone, at_end = membership(early, k), membership(end, k)
    crossed = kuncheva(at_milestone @ at_end.T, n, k)
    matrices = ((crossed + crossed.T) / 2, kuncheva(at_end @ at_end.T, n, k))
    pairs, units = ~np.eye(seeds, dtype=np.bool_), np.arange(seeds)
    # Differences of equal means are rounding, not noise.
    values = _without_rounding(np.array([pair_mean(matrix, pairs) for matrix in matrices]), 1e-12)
    left_out = np.stack([pair_means_without(matrix, pairs, units) for matrix in matrices], axis=1)
    jackknife = Jackknife(left_out, np.zeros(seeds, dtype=np.int64))
    covariance, contrast = _without_rounding(jackknife.covariance(), 1e-24), np.array([1.0, -required])
    errors = np.sqrt([covariance[0, 0], covariance[1, 1], max(0.0, contrast @ covariance @ contrast)])
    errors = _without_rounding(errors, 1e-12)
    agreement, ceiling = (Estimate(float(v), float(e), jackknife.df) for v, e in zip(values, errors[:2], strict=True))
    return MilestoneAgreement(
        agreement,
        ceiling,
        fieller_set(agreement.value, ceiling.value, covariance, jackknife.df, level),
        Estimate(float(contrast @ values), float(errors[2]), jackknife.df),
        required,
        seeds,
    )


def _without_rounding(values: FloatArray, least: float) -> FloatArray:
    """Values with 0 for those that are nothing but rounding."""
    return np.where(np.abs(values) < least, 0.0, values)


def successive_agreement(earlier: FloatArray, later: FloatArray, k: int) -> tuple[Estimate, float]:
    """Agreement of two milestones of the same runs.

    Args:
        earlier: Scores at the earlier milestone, shape (seeds, N).
        later: Scores at the later one, same shape.
        k: Size of the selections.

    Returns:
        Kappa of the top k, mean over runs, which are independent: (seeds - 1) degrees of freedom, the error NaN with
        one seed. And Kendall's tau-b of the whole rankings, mean over runs; NaN where a ranking is constant.
    """
    n = later.shape[1]
    shared = (membership(earlier, k) * membership(later, k)).sum(axis=1)
    kappa = np.asarray(kuncheva(shared, n, k), dtype=np.float64)
    seeds = len(kappa)
    error = float(kappa.std(ddof=1) / np.sqrt(seeds)) if seeds > 1 else float("nan")
    taus = [float(stats.kendalltau(a, b).statistic) for a, b in zip(earlier, later, strict=True)]
    return Estimate(float(kappa.mean()), error, seeds - 1, reach=(-1.0, 1.0)), float(np.mean(taus))


def milestone_sentence(
    found: MilestoneAgreement,
    verdict: Reach,
    adjusted_p: float | None,
    *,
    after: float,
    end: float,
    what: str,
    level: float,
) -> str:
    """What a report says of a milestone; "reaches" appears only where the test showed it.

    Args:
        found: The agreement.
        verdict: Its verdict.
        adjusted_p: Corrected p-value; None without a test.
        after: The milestone, as a fraction of the planned training.
        end: The last checkpoint.
        what: Scorer, size and data, such as `ila, top 63 of 210, on alpaca`.
        level: Confidence of the set of the share.
    """
    moment = f"after {100 * after:g} % of the reference training ({what}, {found.seeds} seeds)"
    least = f"{found.required:g} of the ceiling"
    ends = "full runs" if end == 1 else f"runs at {100 * end:g} %"
    figures = (
        f"kappa {found.agreement.value:.2f} with the {ends} of other seeds, where {ends} agree at "
        f"{found.ceiling.value:.2f}"
    )
    if verdict in (Reach.REACHED, Reach.NOT_SHOWN):
        figures += f"; share {found.shares.ratio:.2f}, {100 * level:.3g} % set {found.shares}, corrected p = "
        figures += f"{adjusted_p:.3f}"
    match verdict:
        case Reach.REACHED:
            return f"{moment} the agreement reaches {least}: {figures}."
        case Reach.NOT_SHOWN:
            return (
                f"{moment} the agreement is not shown to reach {least}, which is no proof that it does not: {figures}."
            )
        case Reach.TOO_FEW_SEEDS:
            return (
                f"{moment} whether {least} is reached cannot be tested, which takes at least {MIN_SEEDS_FOR_SHARING} "
                f"seeds: {figures}."
            )
        case Reach.NO_CEILING:
            return (
                f"{moment} there is nothing to reach: {ends} of different seeds are not shown to agree above chance "
                f"({figures})."
            )
        case Reach.NO_NOISE:
            return f"{moment} no test is possible, since all runs rank alike: {figures}."


def in_sequence(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values of hypotheses in an order fixed beforehand: each is tested only once those before are rejected.

    No level is spent on the order, so that the family-wise error holds without dividing it. A hypothesis without a test
    is passed over.

    Source:
        Maurer, Hothorn and Lehmacher 1995; Westfall and Krishen 2001, fixed-sequence testing.
    """
    highest, adjusted = 0.0, []
    for value in p:
        highest = max(highest, value) if value is not None else highest
        adjusted.append(None if value is None else highest)
    return adjusted
