"""Standard errors of means over items: independent, clustered, stratified; and a proportion."""

import numpy as np
from scipy import stats

from layersig.analysis.results import Estimate, FloatArray, IntArray, Interval


def mean_items(values: FloatArray) -> Estimate:
    """Mean over independent items with its standard error, sqrt(sum (x - mean)^2 / (n (n - 1))).

    For a paired comparison pass the differences of two arms on the same items.

    Args:
        values: Shape (n >= 2,).

    Returns:
        Estimate with n - 1 degrees of freedom.

    Source:
        Miller 2024, "Adding error bars to evals" (arXiv 2411.00640), section 2.1.
    """
    _check_items(values)
    n = values.size
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / n**0.5, n - 1)


def mean_clusters(values: FloatArray, clusters: IntArray) -> Estimate:
    """Mean over items that come in clusters (twin sentences, turns of one dialogue, repeats of an item).

    SE^2 = SE_independent^2 + (1/n^2) sum over clusters and i != j of (x_i - mean)(x_j - mean).

    Args:
        values: Shape (n,).
        clusters: Cluster of each item, shape (n,), any integers, at least two different ones.

    Returns:
        Estimate with (clusters - 1) degrees of freedom; the source uses the normal law, which is too short with few
        clusters. The standard error is 0 when the cross terms outweigh the rest.

    Source:
        Miller 2024 (arXiv 2411.00640), section 2.2.
    """
    _check_items(values)
    if clusters.shape != values.shape:
        raise ValueError(f"clusters {clusters.shape} and values {values.shape} differ in shape")
    _, index = np.unique(clusters, return_inverse=True)
    n_clusters = int(index.max()) + 1
    if n_clusters < 2:
        raise ValueError("a clustered standard error needs at least two clusters")
    centred = values - values.mean()
    cross = float((np.bincount(index, weights=centred) ** 2).sum() - (centred**2).sum())
    variance = mean_items(values).se ** 2 + cross / values.size**2
    return Estimate(float(values.mean()), float(np.sqrt(max(0.0, variance))), n_clusters - 1)


def mean_strata(values: FloatArray, strata: IntArray) -> Estimate:
    """Unweighted mean of stratum means (MMLU subjects), the strata being fixed.

    Args:
        values: Shape (n,).
        strata: Stratum of each item, shape (n,), at least two items in each.

    Returns:
        Estimate whose variance is the sum of s_h^2 / n_h over H^2, with Satterthwaite's degrees of freedom.
    """
    _check_items(values)
    if strata.shape != values.shape:
        raise ValueError(f"strata {strata.shape} and values {values.shape} differ in shape")
    parts = [mean_items(values[strata == stratum]) for stratum in np.unique(strata)]
    variances = np.array([part.se**2 for part in parts])
    total = float(variances.sum())
    df = total**2 / float((variances**2 / np.array([part.df for part in parts])).sum()) if total > 0 else np.inf
    return Estimate(float(np.mean([part.value for part in parts])), total**0.5 / len(parts), df)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (scipy)."""
    ends = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(float(ends.low), float(ends.high), level)


def _check_items(values: FloatArray) -> None:
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"at least two items in a vector are needed, got shape {values.shape}")
