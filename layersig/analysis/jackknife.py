"""Delete-one jackknife of statistics that are functions of means over pairs of runs; a bootstrap for comparison."""

from dataclasses import dataclass

import numpy as np

from layersig.analysis.results import BoolArray, Estimate, FloatArray, IntArray, Interval


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
    """Mean over pairs with all runs of one unit left out, shape (units,); NaN where no pair is left.

    Args:
        matrix: Symmetric, shape (runs, runs).
        pairs: Symmetric mask of the pairs that count, diagonal False.
        units: Unit of each run, numbered from 0, shape (runs,); a run with a negative number is never left out.
    """
    member = (units[:, None] == np.arange(int(units.max()) + 1)).astype(np.float64)

    def remaining(values: FloatArray) -> FloatArray:
        touching = member.T @ values.sum(axis=1)
        inside = np.einsum("ru,rs,su->u", member, values, member)
        return np.asarray(values.sum() - 2 * touching + inside)

    counts = remaining(pairs.astype(np.float64))
    sums = remaining(np.where(pairs, matrix, 0.0))
    return np.asarray(np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0))


def jackknife_mean(matrix: FloatArray, pairs: BoolArray, units: IntArray, strata: IntArray) -> Estimate:
    """Mean over pairs with its delete-one-unit jackknife error and a t law.

    Args:
        matrix: Symmetric, shape (runs, runs).
        pairs: Symmetric mask of the pairs that count, diagonal False.
        units: Unit of each run, numbered from 0, shape (runs,).
        strata: Stratum of each unit, shape (units,).

    Returns:
        An estimate with (units - strata) degrees of freedom. Its error is NaN where leaving out a unit leaves no pair.
    """
    jackknife = Jackknife(pair_means_without(matrix, pairs, units)[:, None], strata)
    return Estimate(pair_mean(matrix, pairs), float(np.sqrt(jackknife.covariance()[0, 0])), jackknife.df)


def bootstrap_mean(
    matrix: FloatArray,
    pairs: BoolArray,
    units: IntArray,
    strata: IntArray,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a mean over pairs when units are drawn with replacement inside their stratum.

    A unit that is drawn twice never meets its own copy, since `pairs` holds no pair inside a unit. Too short with few
    units all the same: `jackknife_mean` is what holds.

    Args:
        matrix: Symmetric, shape (runs, runs).
        pairs: Symmetric mask of the pairs that count; none of them inside a unit.
        units: Unit of each run, numbered from 0, shape (runs,); a run with a negative number is always there once.
        strata: Stratum of each unit, shape (units,).
        rng: Source of randomness.
        draws: Bootstrap samples; those without any pair are left out.
        level: Coverage.
    """
    times = np.empty((draws, strata.size))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        times[:, members] = rng.multinomial(members.size, np.full(members.size, 1 / members.size), size=draws)
    weights = np.where(units >= 0, times[:, units], 1.0)
    total = np.einsum("di,ij,dj->d", weights, pairs.astype(np.float64), weights)
    values = np.einsum("di,ij,dj->d", weights, np.where(pairs, matrix, 0.0), weights)[total > 0] / total[total > 0]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)
