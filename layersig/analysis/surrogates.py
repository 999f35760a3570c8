"""A test of rank agreement that respects depth, on what module type and smooth depth leave unexplained.

Scores of neighbouring blocks are alike, so are the scores of the types of one block, and most rankings have a trend
over depth and odd first and last blocks. Permuting modules one by one breaks all of this, finds a few dozen independent
values where there are two hundred modules, and rejects far too often. Here every ranking is first reduced to

- its interior: the first and last two blocks, which are unlike the others in every model looked at, are left out;
- residuals: what a cubic in depth for every module type leaves over, expressed in cosines of rising frequency.

A surrogate then turns every two neighbouring frequencies of one ranking by a random angle, the *same* for all types.
That keeps the smoothness of the residuals and the bond between the types of a block, and loses only what is tested: how
the residuals of one ranking line up with those of another.

The null hypothesis is "beyond module type, a cubic in depth and the end blocks, the two rankings are independent".
Unlike blocks further inside than the second are not covered: with three odd blocks at either end the test rejects too
often.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from layersig.analysis.identity import unit_rows
from layersig.analysis.rankcorr import normal_scores
from layersig.analysis.results import Alternative, BoolArray, FloatArray, IntArray, PValue, monte_carlo_p

EDGE_BLOCKS = 2
MIN_BLOCKS = 12
_DEGREE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Interior:
    """Modules that the test uses, as series over depth.

    Attributes:
        series: Positions of the modules of one series in order of depth. A type is a series, or several where a block
            holds several modules of it; types may lie in different blocks.
    """

    series: tuple[IntArray, ...]

    @property
    def positions(self) -> IntArray:
        """All positions, shape (modules,)."""
        return np.concatenate(self.series)


def interior(types: IntArray, depths: IntArray) -> Interior | None:
    """The series of modules over depth without the first and last two blocks.

    Args:
        types: Type of each module, shape (N,), any integers.
        depths: Block of each module, shape (N,); that of a module alone in its type, such as the output head, is not a
            block.

    Returns:
        None where there are fewer than 12 blocks, or no series is long enough to be tested.
    """
    codes, counts = np.unique(types, return_counts=True)
    blocks = np.unique(depths[np.isin(types, codes[counts > 1])])
    if blocks.size < MIN_BLOCKS:
        return None
    inside = np.isin(depths, blocks[EDGE_BLOCKS:-EDGE_BLOCKS])
    found = []
    for code in codes:
        members = np.flatnonzero((types == code) & inside)
        order = members[np.argsort(depths[members], kind="stable")]
        place = np.arange(order.size) - np.searchsorted(depths[order], depths[order])
        found += [order[place == number] for number in range(int(place.max(initial=-1)) + 1)]
    long_enough = tuple(series for series in found if series.size > _DEGREE + 2)
    return Interior(long_enough) if long_enough else None


def residual_coefficients(scores: FloatArray, where: Interior) -> FloatArray:
    """What type and smooth depth leave of rankings, frequency by frequency.

    Args:
        scores: Shape (runs, N).
        where: The modules to look at.

    Returns:
        Shape (runs, frequencies, series), every run of length 1: the inner product of two runs is the correlation of
        their residuals. A run that type and depth explain entirely is 0.
    """
    values = np.zeros(scores.shape)
    values[:, where.positions] = normal_scores(scores[:, where.positions])
    longest = max(series.size for series in where.series)
    out = np.zeros((len(scores), longest - _DEGREE - 1, len(where.series)))
    for number, series in enumerate(where.series):
        basis = _rough_cosines(series.size)
        out[:, : basis.shape[1], number] = values[:, series] @ basis
    return unit_rows(out, values)


def surrogate_test(
    a: FloatArray, b: FloatArray, pairs: BoolArray, rng: np.random.Generator, draws: int = 9999
) -> PValue:
    """Test whether two rankings, each with its runs, are independent beyond module type and smooth depth.

    The statistic is the mean correlation of residuals over ``pairs``. All runs of ``b`` are turned together, so that
    the agreement of its runs is kept.

    Args:
        a: Coefficients of the runs of the first ranking, shape (runs_a, frequencies, series).
        b: Coefficients of the runs of the second ranking, shape (runs_b, frequencies, series).
        pairs: Which runs are paired, shape (runs_a, runs_b); runs that share a training should not be.
        rng: Source of randomness.
        draws: Number of surrogates.

    Returns:
        Two-sided p-value with the +1 rule: rankings may also agree less than by accident.

    Source:
        Random rotations in place of the random phases of Ebisuzaki 1997; one rotation for all series as in Prichard and
        Theiler 1994. Cosines take the place of the Fourier basis, whose period a profile over depth does not have.
    """
    turned = b.shape[1] // 2 * 2
    weighted = np.einsum("ij,jfs->ifs", pairs / pairs.sum(), b)
    products = np.einsum(
        "itps,itqs->tpq",
        a[:, :turned].reshape(len(a), -1, 2, a.shape[2]),
        weighted[:, :turned].reshape(len(a), -1, 2, a.shape[2]),
    )
    rest = float((a[:, turned:] * weighted[:, turned:]).sum())
    same, skew = products[:, 0, 0] + products[:, 1, 1], products[:, 0, 1] - products[:, 1, 0]
    turn, reflect = (
        np.hypot(same, skew),
        np.hypot(products[:, 0, 0] - products[:, 1, 1], products[:, 0, 1] + products[:, 1, 0]),
    )
    size = (draws, len(products))
    amplitude = np.where(rng.random(size) < 0.5, turn, reflect)
    null = (amplitude * np.cos(rng.uniform(0, 2 * np.pi, size))).sum(axis=1)
    null += rest * (1 - 2 * rng.integers(0, 2, draws))
    return monte_carlo_p(float(same.sum()) + rest, null, Alternative.TWO_SIDED)


@cache
def _rough_cosines(size: int) -> FloatArray:
    """Orthonormal cosines over ``size`` blocks, of rising frequency, with cubics taken out: shape (size, size - 4)."""
    depth = np.linspace(-1, 1, size)
    cosines = np.cos(np.pi * (np.arange(size)[:, None] + 0.5) * np.arange(_DEGREE + 1, size) / size)
    basis, _ = np.linalg.qr(np.concatenate([np.vander(depth, _DEGREE + 1), cosines], axis=1))
    return np.asarray(basis[:, _DEGREE + 1 :], dtype=np.float64)
