"""What a ranking knows about single modules beyond a smooth type x depth pattern.

Two figures that answer different questions. The *residual agreement* asks whether runs agree on single modules at all:
its null value is 0. The *identity gain* asks which of two predictors of another run is better, a run's own scores or
their smooth fit. Smoothing takes noise away, so the gain is negative where single modules vary less than the noise of
runs: a gain below 0 is no sign that nothing is known of them.
"""

import numpy as np

from layersig.analysis.agreement import RunDesign
from layersig.analysis.jackknife import jackknife_mean
from layersig.analysis.overlap import kuncheva
from layersig.analysis.rankcorr import normal_scores
from layersig.analysis.results import Estimate, FloatArray, IntArray
from layersig.analysis.selections import membership

_ROUNDING = 1e-9
"""Differences below this share of a ranking's size are rounding errors of a fit."""


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
    and once by the fit to the scores of run i; run j never enters the fit. Above 0, own scores predict another run
    better than their smooth fit does; below 0, worse, as their noise outweighs what they know of single modules. What
    they know is measured by `residual_agreement`.

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
    target = membership(scores, k)
    fit = type_depth_fit(scores, types, depths, degree)
    smooth = membership(rounded(fit, scores), k)
    gain = kuncheva(target @ target.T, scores.shape[1], k) - kuncheva(smooth @ target.T, scores.shape[1], k)
    return jackknife_mean((gain + gain.T) / 2, design.within, design.units, design.unit_strata)


def rounded(fit: FloatArray, scores: FloatArray) -> FloatArray:
    """Fitted values for ranking: those of one smooth curve can agree to the last digits but one.

    Args:
        fit: Shape (..., N).
        scores: What was fitted, of the same shape.

    Returns:
        Whole multiples of a step that is small beside the largest score, whatever the scale of scores is.
    """
    step = np.maximum(np.abs(scores).max(axis=-1, keepdims=True), np.finfo(np.float64).tiny) * _ROUNDING
    found: FloatArray = np.round(fit / step)
    return found


def residual_agreement(scores: FloatArray, design: RunDesign, types: IntArray, depths: IntArray) -> Estimate:
    """Mean correlation between runs of one cell of what type and depth do not explain of their scores.

    Args:
        scores: Shape (runs, N).
        design: Cells and seeds.
        types: Type of each module, shape (N,).
        depths: Depth of each module, shape (N,).

    Returns:
        Mean over pairs of Pearson's correlation of the residuals of normal scores from the type x cubic-depth fit,
        with delete-one-run jackknife error; 0 is expected where runs share nothing but that fit, so that a one-sided
        lower bound above 0 shows knowledge of single modules. A run whose type and depth explain everything
        counts as 0.

    Raises:
        ValueError: Shapes do not fit, or a cell has a single run.
    """
    if design.fewest_seeds < 2:
        raise ValueError("residuals are compared between runs: every cell needs at least two runs")
    values = normal_scores(scores)
    unit = unit_rows(values - type_depth_fit(values, types, depths), values)
    return jackknife_mean(unit @ unit.T, design.within, design.units, design.unit_strata)


def unit_rows(rows: FloatArray, source: FloatArray) -> FloatArray:
    """Rows scaled to length 1; rows that are no more than rounding errors of what they were made from become 0.

    Args:
        rows: Shape (runs, ...).
        source: What the rows are a part of, shape (runs, N).
    """
    norm = np.sqrt((rows.reshape(len(rows), -1) ** 2).sum(axis=1))
    small = norm <= _ROUNDING * np.maximum(np.sqrt((source**2).sum(axis=1)), np.finfo(np.float64).tiny)
    scale = np.where(small, 0.0, 1 / np.where(small, 1.0, norm))
    return np.asarray(rows * scale.reshape(-1, *[1] * (rows.ndim - 1)))
