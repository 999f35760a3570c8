"""Correlation of two complete rankings."""

import numpy as np
from scipy import stats

from layersig.analysis.results import FloatArray


def spearman(a: FloatArray, b: FloatArray) -> float:
    """Spearman's rank correlation of two score vectors (mid-ranks); NaN when one is constant."""
    return float(pairwise_spearman(np.stack([a, b]))[0, 1])


def pairwise_spearman(scores: FloatArray) -> FloatArray:
    """Spearman's rank correlation of every pair of runs.

    Args:
        scores: Shape (runs, N).

    Returns:
        Symmetric matrix, shape (runs, runs).
    """
    return _pairwise(stats.rankdata(scores, axis=1))


def pairwise_correlation(scores: FloatArray) -> FloatArray:
    """Pearson correlation of the normal scores of every pair of runs; NaN with a constant run.

    Unlike an overlap, it is attenuated by noise as theory has it: its mean over pairs of runs of two cells is the
    correlation of the noise-free rankings times the square roots of the two cells' own means.

    Args:
        scores: Shape (runs, N).

    Returns:
        Symmetric matrix, shape (runs, runs).
    """
    return _pairwise(normal_scores(scores))


def normal_scores(scores: FloatArray) -> FloatArray:
    """Normal quantiles of the mid-ranks along the last axis; equal scores get equal values, a constant ranking zeros.

    Source:
        van der Waerden 1952, with (rank - 1/2) / N.
    """
    ranks = stats.rankdata(scores, axis=-1)
    return np.asarray(stats.norm.ppf((ranks - 0.5) / scores.shape[-1]), dtype=np.float64)


def _pairwise(values: FloatArray) -> FloatArray:
    centred = values - values.mean(axis=1, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray(centred @ centred.T / np.outer(norm, norm), dtype=np.float64)
