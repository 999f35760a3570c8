"""Agreement of two whole rankings: rank-biased overlap, Kendall, Spearman."""

import numpy as np
from scipy import stats

from layersig.analysis.overlap import descending_ranks
from layersig.analysis.results import FloatArray


def rbo(a: FloatArray, b: FloatArray, persistence: float = 0.98) -> float:
    """Extrapolated rank-biased overlap of two full rankings of the same elements.

    Args:
        a: Scores, shape (N,); higher ranks first, ties by index.
        b: Scores of the same elements.
        persistence: Weight p of going one rank deeper; .98 puts .85 of the weight on the first 50 ranks.

    Returns:
        1 for equal rankings, near 0 for rankings that disagree at the top.

    Raises:
        ValueError: Shapes differ, or persistence is not in (0, 1).

    Source:
        Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings", equation 30 at equal depth.
    """
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"two score vectors of equal length are needed, got {a.shape} and {b.shape}")
    _check_persistence(persistence)
    n = a.size
    later = np.maximum(descending_ranks(a), descending_ranks(b))
    depth = np.arange(1, n + 1)
    agreement = np.cumsum(np.bincount(later, minlength=n)) / depth
    weighted = float((agreement * persistence**depth).sum()) * (1 - persistence) / persistence
    return float(agreement[-1]) * persistence**n + weighted


def rbo_prefix_weight(persistence: float, depth: int) -> float:
    """Share of the weight of rank-biased overlap that lies on the first ``depth`` ranks.

    Source:
        Webber, Moffat and Zobel 2010, equation 21.
    """
    _check_persistence(persistence)
    i = np.arange(1, depth)
    tail = np.log(1 / (1 - persistence)) - float((persistence**i / i).sum())
    return float(1 - persistence ** (depth - 1) + (1 - persistence) / persistence * depth * tail)


def kendall_tau_b(a: FloatArray, b: FloatArray) -> float:
    """Kendall's tau-b of two score vectors (scipy); NaN when one is constant."""
    return float(stats.kendalltau(a, b).statistic)


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
    ranks = stats.rankdata(scores, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray(centred @ centred.T / np.outer(norm, norm), dtype=np.float64)


def _check_persistence(persistence: float) -> None:
    if not 0 < persistence < 1:
        raise ValueError(f"persistence must lie in (0, 1), got {persistence}")
