"""Delete-one jackknife of statistics that are functions of means over pairs of runs."""

from dataclasses import dataclass

import numpy as np

from layersig.analysis.results import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Jackknife:
    """Values with one unit left out, and how many degrees of freedom they carry.

    Attributes:
        left_out: Shape (units, statistics).
        strata: Stratum of each unit, shape (units,); units are compared inside their stratum only.
    """

    left_out: FloatArray
    strata: IntArray

    @property
    def df(self) -> int:
        """Units minus strata."""
        return int(self.strata.size - np.unique(self.strata).size)

    def covariance(self) -> FloatArray:
        """Jackknife covariance of the statistics, shape (statistics, statistics)."""
        width = self.left_out.shape[1]
        total = np.zeros((width, width))
        for stratum in np.unique(self.strata):
            values = self.left_out[self.strata == stratum]
            centred = values - values.mean(axis=0)
            total += (len(values) - 1) / len(values) * centred.T @ centred
        return total


def pair_mean(matrix: FloatArray, pairs: BoolArray) -> float:
    """Mean of a symmetric matrix over a symmetric mask of pairs; NaN without pairs."""
    count = int(pairs.sum())
    return float(matrix[pairs].sum() / count) if count else float("nan")


def pair_means_without(matrix: FloatArray, pairs: BoolArray, units: IntArray) -> FloatArray:
    """Mean over pairs with all runs of one unit left out, shape (units,).

    Args:
        matrix: Symmetric, shape (runs, runs).
        pairs: Symmetric mask of the pairs that count, diagonal False.
        units: Unit of each run, numbered from 0, shape (runs,).
    """
    member = np.eye(int(units.max()) + 1)[units]

    def remaining(values: FloatArray) -> FloatArray:
        touching = member.T @ values.sum(axis=1)
        inside = np.einsum("ru,rs,su->u", member, values, member)
        return np.asarray(values.sum() - 2 * touching + inside)

    with np.errstate(invalid="ignore"):
        return remaining(np.where(pairs, matrix, 0.0)) / remaining(pairs.astype(np.float64))
