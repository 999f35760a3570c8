"""Adjusted p-values for families of tests."""

import numpy as np
from scipy import stats

from layersig.analysis.results import FloatArray

_CHUNK_CELLS = 20_000_000


def holm(p: FloatArray) -> FloatArray:
    """Holm's adjusted p-values: "on some task", any dependence.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    _check_p(p)
    order = np.argsort(p)
    stepped = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """Benjamini-Hochberg adjusted p-values (scipy): sweeps over layers, false discovery rate."""
    _check_p(p)
    return np.asarray(stats.false_discovery_control(p, method="bh"), dtype=np.float64)


def benjamini_yekutieli(p: FloatArray) -> FloatArray:
    """Benjamini-Yekutieli adjusted p-values (scipy): false discovery rate under any dependence."""
    _check_p(p)
    return np.asarray(stats.false_discovery_control(p, method="by"), dtype=np.float64)


def intersection_union(p: FloatArray) -> float:
    """P-value of "on every task": the largest p, without correction (Berger 1982)."""
    _check_p(p)
    return float(p.max())


def max_t_sign_flip_items(differences: FloatArray, rng: np.random.Generator, draws: int = 9999) -> FloatArray:
    """Two-sided p-values adjusted by the maximum of |t| over all contrasts: "the worst of these layers".

    One random sign per item is applied to all contrasts, which keeps their correlation. The worst layer that is found
    is still measured too badly: its effect needs items that did not take part in choosing it.

    Args:
        differences: Paired differences, shape (contrasts, items); for instance each ablated layer minus the base.
        rng: Source of randomness.
        draws: Sign patterns.

    Returns:
        Adjusted p-values, shape (contrasts,), with the +1 rule; single step.

    Source:
        Westfall and Young 1993, Resampling-Based Multiple Testing.
    """
    if differences.ndim != 2 or differences.shape[1] < 2:
        raise ValueError(f"differences must have shape (contrasts, items >= 2), got {differences.shape}")
    n = differences.shape[1]
    sum_squares = (differences**2).sum(axis=1)

    def absolute_t(sums: FloatArray) -> FloatArray:
        # Flipping signs leaves the sum of squares alone, so |t| is a function of the sum.
        spread = np.sqrt(np.maximum(sum_squares - sums**2 / n, 0) * n / (n - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(sum_squares == 0, 0.0, np.abs(sums) / spread))

    observed = absolute_t(differences.sum(axis=1))
    above = np.zeros(observed.size)
    chunk = max(1, _CHUNK_CELLS // n)
    for start in range(0, draws, chunk):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(min(chunk, draws - start), n), dtype=np.int8)
        largest = absolute_t(signs @ differences.T).max(axis=1)
        above += (largest[:, None] >= observed * (1 - 1e-12)).sum(axis=0)
    return np.asarray((1 + above) / (1 + draws))


def _check_p(p: FloatArray) -> None:
    if p.ndim != 1 or p.size == 0 or not bool(np.all((p >= 0) & (p <= 1))):
        raise ValueError("p-values must form a non-empty vector with values between 0 and 1")
