"""Standard errors of means over items: independent, of unequal weight, clustered."""

import numpy as np

from layersig.analysis.results import Estimate, FloatArray, IntArray


def mean_items(values: FloatArray, shares: FloatArray | None = None) -> Estimate:
    """Mean over independent units with its standard error, sqrt(sum (x - mean)^2 / (n (n - 1))).

    For a paired comparison pass the differences of two arms on the same items.

    Args:
        values: Shape (n >= 2,). Where units count unequally (clusters of several sizes, items of several weights), the
            linearised values whose plain mean is the weighted one.
        shares: Share of each unit in the weight of all, shape (n,); None where all are equal. The error is then the
            bias-reduced one (CR2), V = sum s^2 / (1 - share) over the units' contributions s to the mean, and a few
            large units leave few degrees of freedom.

    Returns:
        Estimate with n - 1 degrees of freedom, or those of `small_sample_df`.

    Source:
        Miller 2024, "Adding error bars to evals" (arXiv 2411.00640), section 2.1; Bell and McCaffrey 2002, "Bias
        reduction in standard errors for linear regression with multi-stage samples", for units of unequal weight.
    """
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"at least two items in a vector are needed, got shape {values.shape}")
    n, mean = values.size, float(values.mean())
    if shares is None:
        return Estimate(mean, float(values.std(ddof=1)) / n**0.5, n - 1)
    variance = float(((values - mean) ** 2 / (1 - shares)).sum()) / n**2
    return Estimate(mean, variance**0.5, small_sample_df(shares))


def small_sample_df(shares: FloatArray) -> float:
    """Satterthwaite's degrees of freedom of the bias-reduced variance of a mean over units of unequal weight.

    The items inside of units count as independent and of equal variance, as the usual working model has it; then equal
    units have n - 1.

    Args:
        shares: Share of each unit in the weight of all, shape (n >= 2,), summing to 1.

    Source:
        Bell and McCaffrey 2002; with an intercept only, their matrix has the shares p on its diagonal and
        -p_g p_h / sqrt((1 - p_g)(1 - p_h)) beside it.
    """
    loads = shares**2 / (1 - shares)
    return 1 / float((shares**2).sum() + loads.sum() ** 2 - (loads**2).sum())


def mean_clusters(values: FloatArray, clusters: IntArray) -> Estimate:
    """Mean over items that come in clusters (twin sentences, turns of one dialogue, repeats of an item).

    Args:
        values: Shape (n,).
        clusters: Cluster of each item, shape (n,), any integers, at least two different ones.

    Returns:
        Estimate by `mean_items` over clusters; Miller's clustered error (arXiv 2411.00640, section 2.2) is the
        same one for many clusters, and too short for a few.
    """
    if clusters.shape != values.shape:
        raise ValueError(f"clusters {clusters.shape} and values {values.shape} differ in shape")
    names, index = np.unique(clusters, return_inverse=True)
    if names.size < 2:
        raise ValueError("a clustered standard error needs at least two clusters")
    units = unit_values(values, np.ones(values.size), index)
    return mean_items(units, unit_shares(np.ones(values.size), index))


def unit_values(
    values: FloatArray, weights: FloatArray, clusters: IntArray | None = None, strata: IntArray | None = None
) -> FloatArray:
    """Values whose plain mean is the weighted mean of items, one per independent unit.

    The weighted mean m is linearised: item i counts m + (w_i / mean w)(v_i - m), and a cluster the sum of what its
    items differ from m, times clusters / items. The error of a plain mean of the result is then that of a ratio of
    totals. In fixed strata, an item counts by what it differs from the mean of its stratum, so that the strata's own
    differences are no error; strata of one item have no such difference and count as one stratum.

    The map is linear in the values, so that differences of unit values are the unit values of differences.

    Args:
        values: Shape (n,).
        weights: Weight of each item, shape (n,).
        clusters: Index of each item's cluster, 0 to clusters - 1; None where every item stands alone.
        strata: Index of each item's stratum, where the strata are fixed; not together with clusters.

    Returns:
        Shape (n,), or (clusters,).

    Source:
        Sarndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, sections 3.7 and 5.6.
    """
    mean, n = float(weights @ values / weights.sum()), values.size
    if strata is not None:
        return np.asarray(mean + weights / weights.mean() * _within(values, weights, strata) * np.sqrt((n - 1) / n))
    deviations = weights / weights.mean() * (values - mean)
    if clusters is None:
        return np.asarray(mean + deviations)
    totals = np.bincount(clusters, weights=deviations)
    return np.asarray(mean + totals * totals.size / n)


def unit_shares(weights: FloatArray, clusters: IntArray | None = None) -> FloatArray | None:
    """Share of each unit in the weight of all, shape (units,); None where all are equal."""
    totals = weights if clusters is None else np.bincount(clusters, weights=weights)
    return None if bool(np.all(totals == totals[0])) else np.asarray(totals / totals.sum())


def _within(values: FloatArray, weights: FloatArray, strata: IntArray) -> FloatArray:
    """What items differ from their stratum's mean, scaled so that their squares sum to n_h times its variance."""
    sizes = np.bincount(strata)
    joined = np.where(sizes[strata] > 1, strata, sizes.size)
    if np.count_nonzero(joined == sizes.size) == 1:
        joined[joined == sizes.size] = int(sizes.argmax())
    sizes, totals = np.bincount(joined), np.bincount(joined, weights=weights)
    sums = np.bincount(joined, weights=weights * values)
    means = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)
    return np.asarray((values - means[joined]) * np.sqrt(sizes[joined] / np.maximum(1, sizes[joined] - 1)))
