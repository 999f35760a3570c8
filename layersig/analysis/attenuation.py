"""Agreement of two scorers (or data sets) corrected for the noise of each."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from layersig.analysis.agreement import RunDesign
from layersig.analysis.fieller import RatioSet, fieller_set
from layersig.analysis.jackknife import Jackknife, pair_mean, pair_means_without
from layersig.analysis.rankcorr import pairwise_correlation, pairwise_spearman
from layersig.analysis.results import Estimate, FloatArray, IntArray

MIN_RELIABILITY = 0.3


@dataclass(frozen=True, slots=True)
class CorrectedCorrelation:
    """Correlation of two noise-free rankings.

    Attributes:
        r_ab: Mean correlation of a run of A with a run of B of another seed.
        reliability_a: Mean correlation of two runs of A.
        reliability_b: Mean correlation of two runs of B.
        corrected: r_ab / sqrt(reliability_a reliability_b) with its Fieller set, not clipped at 1; None when a
            reliability is below 0.3 or, because a ranking is constant, unknown.
    """

    r_ab: float
    reliability_a: float
    reliability_b: float
    corrected: RatioSet | None


def disattenuated_correlation(
    a: FloatArray, b: FloatArray, level: float = 0.95, seeds: IntArray | None = None
) -> CorrectedCorrelation:
    """Correct the rank correlation of two cells for attenuation.

    Args:
        a: Scores of the runs of the first cell, shape (runs_a >= 3, N).
        b: Scores of the runs of the second cell, shape (runs_b >= 3, N).
        level: Coverage of the set.
        seeds: Seed of each run of the first and then of the second cell, where equal numbers share a training; None
            when all differ. Runs of one seed have noise in common, which the formula takes for agreement: such pairs
            stay out, and a seed is left out with all its runs.

    Returns:
        Spearman correlations and, unless a reliability is under 0.3, the corrected one. The set is Fieller's with the
        delete-one jackknife covariance and its degrees of freedom: runs minus two, or seeds minus one.

    Raises:
        ValueError: Fewer than three runs in a cell, or different numbers of modules.

    Source:
        Spearman 1904, for errors that are independent. Correct for correlations only: an overlap such as Jaccard has no
        attenuation formula.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 3:
        raise ValueError(f"two score arrays of shape (runs >= 3, N) are needed, got {a.shape} and {b.shape}")
    r = pairwise_spearman(np.concatenate([a, b]))
    design = RunDesign(np.repeat([0, 1], [len(a), len(b)]), seeds)
    masks = [design.within & (design.cells == 0), design.within & (design.cells == 1), design.between]
    aa, bb, ab = (pair_mean(r, mask) for mask in masks)
    if not (aa >= MIN_RELIABILITY and bb >= MIN_RELIABILITY):
        return CorrectedCorrelation(ab, aa, bb, None)
    without = [pair_means_without(r, mask, design.units) for mask in masks]
    ceiling = np.sqrt(np.maximum(without[0], 0) * np.maximum(without[1], 0))
    jackknife = Jackknife(np.stack([without[2], ceiling], axis=1), design.unit_strata)
    return CorrectedCorrelation(
        ab, aa, bb, fieller_set(ab, float(np.sqrt(aa * bb)), jackknife.covariance(), jackknife.df, level)
    )


def corrected_between(scores: FloatArray, design: RunDesign) -> Estimate | None:
    """Mean correlation between cells, corrected for the noise of each: r_ab / sqrt(r_aa r_bb), over pairs of cells.

    1 when cells rank alike but for the noise of their runs, however much that noise differs between cells.

    Args:
        scores: Shape (runs, N).
        design: Cells and seeds; at least two cells, and two runs in each.

    Returns:
        Estimate with the delete-one-run (or delete-one-seed) jackknife error; None where a reliability is below 0.3 or,
        because a run is constant, unknown, or where leaving out a unit leaves no pair.

    Source:
        Spearman 1904; correlations of normal scores.
    """
    r = pairwise_correlation(scores)
    cells = np.unique(design.cells)
    inside = {cell: design.within & (design.cells == cell)[:, None] for cell in cells.tolist()}
    if not all(pair_mean(r, mask) >= MIN_RELIABILITY for mask in inside.values()):
        return None
    value, left_out = [], []
    for a, b in combinations(cells.tolist(), 2):
        ends = (design.cells == a, design.cells == b)
        across = design.between & (np.outer(*ends) | np.outer(*reversed(ends)))
        reliability = pair_mean(r, inside[a]) * pair_mean(r, inside[b])
        value.append(pair_mean(r, across) / np.sqrt(reliability))
        without = [pair_means_without(r, mask, design.units) for mask in (across, inside[a], inside[b])]
        left_out.append(without[0] / np.sqrt(np.maximum(without[1], 0) * np.maximum(without[2], 0)))
    jackknife = Jackknife(np.mean(left_out, axis=0)[:, None], design.unit_strata)
    se = float(np.sqrt(jackknife.covariance()[0, 0]))
    return Estimate(float(np.mean(value)), se, jackknife.df) if np.isfinite(se) else None
