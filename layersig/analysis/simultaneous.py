"""Many means on the same items at once: bands that hold together, and p-values corrected for the largest of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from layersig.analysis.results import FloatArray

_DRAWS = 20_000
"""Draws of the largest t. They are draws of a known law, not of the data, and cost next to nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class LargestT:
    """The law of the largest absolute t statistic of several estimates when all their hypotheses are true.

    Bands and p-values of one law agree: a band leaves the hypothesis out exactly where the p-value is at most
    1 - level.

    Attributes:
        draws: Draws of the largest |t|, ascending.
        df: Degrees of freedom of every single t.
    """

    draws: FloatArray
    df: float

    def p_value(self, t: float) -> float:
        """Single-step max-T p-value of one of the statistics: (1 + draws at least as large) / (1 + draws)."""
        at_least = self.draws.size - int(np.searchsorted(self.draws, abs(t), side="left"))
        return (1 + at_least) / (1 + self.draws.size)

    def single_level(self, level: float) -> float:
        """Coverage of a single t interval that, of each estimate, cover all of them together at `level`."""
        rank = int(np.ceil(level * (self.draws.size + 1)))
        critical = float(self.draws[min(rank, self.draws.size) - 1])
        return 1 - 2 * float(stats.t.sf(critical, self.df))


def largest_of(contributions: FloatArray, errors: FloatArray, df: float, rng: np.random.Generator) -> LargestT:
    """The law of the largest |t| of means that are taken on the same items, from their observed correlations.

    The t statistics are taken as jointly t distributed with the correlations of the means. Means that move together,
    such as differences from one and the same model, are corrected less than by Bonferroni's rule.

    Args:
        contributions: What each independent unit adds to each mean beyond its expectation, shape (means, units): with n
            equal units, (x - mean) / n; 0 where a mean is not defined on a unit.
        errors: Standard error of each mean, shape (means,), positive. Where they are larger than the contributions say
            (pseudo-items), the rest counts as independent between means.
        df: Degrees of freedom of every error.
        rng: Source of the draws.

    Raises:
        ValueError: Shapes do not fit, or an error is not positive.

    Source:
        Hothorn, Bretz and Westfall 2008, "Simultaneous inference in general parametric models"; the single-step max-T
        procedure of Westfall and Young 1993, "Resampling-based multiple testing".
    """
    if contributions.ndim != 2 or errors.shape != contributions.shape[:1] or not bool(np.all(errors > 0)):
        raise ValueError(f"a positive error is needed of every mean, got {contributions.shape} and {errors.shape}")
    correlation = contributions @ contributions.T / np.outer(errors, errors)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    normal = rng.standard_normal((_DRAWS, errors.size)) @ root.T
    scale = np.sqrt(rng.chisquare(df, _DRAWS) / df) if np.isfinite(df) else np.ones(_DRAWS)
    return LargestT(np.sort(np.abs(normal).max(axis=1) / scale), df)
