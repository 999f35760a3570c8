"""Variances of many contrasts over few runs, each drawn towards what all of them have in common."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from layersig.analysis.results import FloatArray

_LEAST_SHARE = 1e-9
"""A variance below this share of the mean is a rounding error of none."""


@dataclass(frozen=True, slots=True, eq=False)
class ModeratedVariances:
    """Variances with the degrees of freedom that they carry.

    Attributes:
        variances: Drawn towards the prior, shape (contrasts,).
        df: Degrees of freedom of each; infinite where they do not differ by more than chance.
    """

    variances: FloatArray
    df: float


def moderated_variances(variances: FloatArray, df: int) -> ModeratedVariances:
    """Empirical-Bayes variances: (d0 s0^2 + df s^2) / (d0 + df), with the prior s0^2 and d0 fitted to all above 0.

    A variance of 0 is of scores that happened not to vary. It has no logarithm and tells nothing of the prior, which
    stands in for it. Where all of them are 0, they stay so: nothing is known of the error.

    Contrasts of the layers of one model are not independent, so the prior is known less well than their number says:
    half of its degrees of freedom are counted.

    Args:
        variances: Sample variances, shape (contrasts,).
        df: Degrees of freedom of each.

    Source:
        Smyth 2004, "Linear models and empirical Bayes methods for assessing differential expression in microarray
        experiments", section 6.2. Deviation: half of d0 in the degrees of freedom of the t law.
    """
    mean = float(variances.mean())
    if mean == 0:
        return ModeratedVariances(variances, float(df))
    kept = np.where(variances > mean * _LEAST_SHARE, variances, 0.0)
    logs = np.log(kept[kept > 0]) - special.digamma(df / 2) + np.log(df / 2)
    spread = float(logs.var(ddof=1)) - float(special.polygamma(1, df / 2)) if logs.size > 1 else 0.0
    if spread <= 0:
        return ModeratedVariances(np.full_like(kept, np.exp(logs.mean())), float("inf"))
    half = _inverse_trigamma(spread)
    prior = float(np.exp(logs.mean() + special.digamma(half) - np.log(half)))
    return ModeratedVariances((2 * half * prior + df * kept) / (2 * half + df), df + half)


def _inverse_trigamma(value: float) -> float:
    """Newton's method on 1 / trigamma, which is convex and nearly linear."""
    at = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, at))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, at))
        at += step
        if abs(step) < 1e-9 * at:
            break
    return at
