"""Identity gain: what a ranking knows about single modules beyond a smooth type x depth pattern."""

import numpy as np

from layersig.analysis.agreement import RunDesign
from layersig.analysis.jackknife import Jackknife, pair_mean, pair_means_without
from layersig.analysis.overlap import kuncheva, top_k
from layersig.analysis.results import Estimate, FloatArray, IntArray


def type_depth_fit(scores: FloatArray, types: IntArray, depths: IntArray, degree: int = 3) -> FloatArray:
    """Least-squares fit of a polynomial in depth for every module type.

    Args:
        scores: Shape (..., N).
        types: Type of each module, shape (N,).
        depths: Depth of each module, shape (N,).
        degree: Degree of the polynomial; a type with few modules gets the degree that they determine.

    Returns:
        Fitted values, shape (..., N). A module alone in its type is fitted exactly.
    """
    if not types.shape == depths.shape == scores.shape[-1:]:
        raise ValueError(f"scores {scores.shape}, types {types.shape} and depths {depths.shape} do not fit")
    fit = np.empty(scores.shape)
    for code in np.unique(types):
        at = np.flatnonzero(types == code)
        z = depths[at] - depths[at].mean()
        basis, _ = np.linalg.qr(
            np.vander(z / max(1.0, float(np.abs(z).max())), min(degree + 1, at.size), increasing=True)
        )
        fit[..., at] = scores[..., at] @ basis @ basis.T
    return fit


def identity_gain(
    scores: FloatArray, design: RunDesign, k: int, types: IntArray, depths: IntArray, degree: int = 3
) -> Estimate:
    """Kappa of a run's own scores minus kappa of its smooth type x depth fit, both as predictors of another run.

    For every ordered pair (i, j) of runs of one cell, the top-k set of run j is predicted once by the scores of run i
    and once by the fit to the scores of run i; run j never enters the fit. A gain near or below 0 means that the
    ranking says nothing about single modules that type and depth do not say.

    Args:
        scores: Shape (runs, N).
        design: Cells and seeds.
        k: Size of the selections.
        types: Type of each module, shape (N,).
        depths: Depth of each module, shape (N,).
        degree: Degree of the polynomial in depth.

    Returns:
        Mean over ordered pairs, with delete-one-run jackknife error and (runs - cells) degrees of freedom.

    Raises:
        ValueError: Shapes do not fit, or a cell has a single run.
    """
    if design.fewest_seeds < 2:
        raise ValueError("identity gain is cross-fitted over runs: every cell needs at least two runs")
    target = top_k(scores, k).astype(np.float64)
    smooth = top_k(type_depth_fit(scores, types, depths, degree), k).astype(np.float64)
    gain = kuncheva(target @ target.T, scores.shape[1], k) - kuncheva(smooth @ target.T, scores.shape[1], k)
    gain = (gain + gain.T) / 2
    left_out = pair_means_without(gain, design.within, design.units)
    jackknife = Jackknife(left_out[:, None], design.unit_strata)
    se = float(np.sqrt(jackknife.covariance()[0, 0]))
    return Estimate(pair_mean(gain, design.within), se, jackknife.df)
