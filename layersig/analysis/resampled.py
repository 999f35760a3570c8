"""Estimates of statistics that are no means of items, from their values on resamples of the items."""

import numpy as np

from layersig.analysis.results import Estimate, FloatArray

LEAST_DEFINED = 0.95
"""Share of the resamples on which a statistic must be defined for its spread to count."""


def estimate_from_resamples(values: FloatArray, replicates: FloatArray, units: int) -> Estimate | None:
    """A statistic with its bootstrap standard error over items, and over training runs where there are several.

    For a paired comparison pass differences of two arms on the same resamples. Over S runs the variance is that of the
    mean over resamples, items being random and runs fixed, plus that of the runs: what is common to both counts twice,
    so that the error is rather too large than too small.

    A paired difference rests on the items on which two models differ. Of F1, its 95 % interval covers in 95 and 94 % of
    simulated studies with 30 and 15 such items among 300, in 93 and 90 % with 10 and 5 among 100.

    Args:
        values: The statistic of every run, shape (S,).
        replicates: The statistic of every run on every resample, shape (S, B); NaN where it is not defined.
        units: Independent items, or clusters of items, that were resampled.

    Returns:
        The mean over runs, with Satterthwaite's degrees of freedom from units - 1 and S - 1. None with fewer than two
        units, with too few resamples on which it is defined, or without any spread: no spread is no certainty.

    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 6; the factor units / (units - 1) makes the
        error of a mean the usual one.
    """
    runs, draws = replicates.shape
    means = replicates.mean(axis=0)
    means = means[np.isfinite(means)]
    if units < 2 or means.size < LEAST_DEFINED * draws:
        return None
    variances = [(float(means.var(ddof=1)) * units / (units - 1), units - 1)]
    if runs > 1:
        variances.append((float(values.var(ddof=1)) / runs, runs - 1))
    total = sum(variance for variance, _ in variances)
    if not total > 0:
        return None
    df = total**2 / sum(variance**2 / degrees for variance, degrees in variances)
    return Estimate(float(values.mean()), total**0.5, df)
