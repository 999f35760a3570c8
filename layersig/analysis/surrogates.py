"""A test of rank agreement that respects depth, on what module type and smooth depth leave unexplained.

Scores of neighbouring blocks are alike, so are the scores of the types of one block, and most rankings have a trend
over depth and odd first and last blocks. Permuting modules one by one breaks all of this, finds a few dozen independent
values where there are two hundred modules, and rejects far too often. Here every ranking is first reduced to

- its interior: the first and last two blocks, which are unlike the others in every model looked at, are left out;
- residuals: what a cubic in depth for every module type leaves over, expressed in cosines of rising frequency.

Two kinds of surrogates are then drawn, and the larger of their p-values counts:

- *turned*: every two neighbouring frequencies of one ranking are turned by a random angle, the same for all types. That
  keeps the smoothness of the residuals and the bond between the types of a block;
- *flipped*: every block of one ranking gets a random sign, the same for all types. That keeps how far each block lies
  from the fit, so that single odd blocks inside are no agreement unless their signs agree too.

The first alone errs with odd blocks that two rankings have in common, the second with rankings that are smooth; both
lose only what is tested, how the residuals of one ranking line up with those of another.

The null hypothesis is "beyond module type, a cubic in depth and the end blocks, the two rankings are independent".
Where three or more blocks at an end are unlike the rest, the test rejects too often.
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
        blocks: Number of the block of every module, in the order of `positions`, shape (modules,).
    """

    series: tuple[IntArray, ...]
    blocks: IntArray

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
    if not long_enough:
        return None
    return Interior(
        long_enough, np.unique(depths[np.concatenate(long_enough)], return_inverse=True)[1].astype(np.int64)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """What type and smooth depth leave of the runs of a ranking; a run that they explain entirely is 0.

    Attributes:
        where: The modules looked at.
        coefficients: Frequency by frequency, shape (runs, frequencies, series), every run of length 1.
    """

    where: Interior
    coefficients: FloatArray

    @property
    def values(self) -> FloatArray:
        """Module by module, in the order of `where.positions`, shape (runs, modules)."""
        parts = []
        for number, series in enumerate(self.where.series):
            basis = _rough_cosines(series.size)
            parts.append(self.coefficients[:, : basis.shape[1], number] @ basis.T)
        return np.concatenate(parts, axis=1)

    def correlation(self, other: "Residuals") -> FloatArray:
        """Correlation of every run with every run of another ranking, shape (runs, other runs)."""
        return np.asarray(np.einsum("ifs,jfs->ij", self.coefficients, other.coefficients))


def residuals(scores: FloatArray, where: Interior) -> Residuals:
    """Residuals of normal scores from the type x cubic-depth fit of the interior.

    Args:
        scores: Shape (runs, N).
        where: The modules to look at.
    """
    values = np.zeros(scores.shape)
    values[:, where.positions] = normal_scores(scores[:, where.positions])
    longest = max(series.size for series in where.series)
    out = np.zeros((len(scores), longest - _DEGREE - 1, len(where.series)))
    for number, series in enumerate(where.series):
        basis = _rough_cosines(series.size)
        out[:, : basis.shape[1], number] = values[:, series] @ basis
    return Residuals(where, unit_rows(out, values))


def surrogate_test(a: Residuals, b: Residuals, pairs: BoolArray, rng: np.random.Generator, draws: int = 9999) -> PValue:
    """Test whether two rankings, each with its runs, are independent beyond module type and smooth depth.

    The statistic is the mean correlation of residuals over `pairs`. All runs of `b` are turned, or flipped,
    together, so that the agreement of its runs is kept.

    Args:
        a: Residuals of the runs of the first ranking.
        b: Those of the second, on the same modules.
        pairs: Which runs are paired, shape (runs of a, runs of b); runs that share a training should not be.
        rng: Source of randomness.
        draws: Number of surrogates of each kind.

    Returns:
        The larger of the two-sided p-values of both kinds, with the +1 rule: rankings may also agree less than by
        accident.

    Source:
        Random rotations in place of the random phases of Ebisuzaki 1997, one for all series as in Prichard and Theiler
        1994; cosines take the place of the Fourier basis, whose period a profile over depth does not have. Signs of
        blocks: the wild bootstrap of Wu 1986 on products.
    """
    weights = pairs / pairs.sum()
    turned = _turned(a.coefficients, np.einsum("ij,jfs->ifs", weights, b.coefficients), rng, draws)
    products = (a.values * (weights @ b.values)).sum(axis=0)
    by_block = np.bincount(a.where.blocks, weights=products).astype(np.float64)
    flipped: FloatArray = rng.choice([-1.0, 1.0], size=(draws, by_block.size)) @ by_block
    observed = float(products.sum())
    found = [monte_carlo_p(observed, null, Alternative.TWO_SIDED).p for null in (turned, flipped)]
    return PValue(observed, max(found), draws)


def _turned(a: FloatArray, b: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """The sum of products when neighbouring frequencies of `b` are rotated, or rotated and reflected, at random."""
    even = a.shape[1] // 2 * 2
    first, second = (x[:, :even].reshape(len(x), -1, 2, x.shape[2]) for x in (a, b))
    products = np.einsum("itps,itqs->tpq", first, second)
    turn = np.hypot(products[:, 0, 0] + products[:, 1, 1], products[:, 0, 1] - products[:, 1, 0])
    reflect = np.hypot(products[:, 0, 0] - products[:, 1, 1], products[:, 0, 1] + products[:, 1, 0])
    size = (draws, len(products))
    amplitude = np.where(rng.random(size) < 0.5, turn, reflect)
    null = (amplitude * np.cos(rng.uniform(0, 2 * np.pi, size))).sum(axis=1)
    rest = float((a[:, even:] * b[:, even:]).sum())
    return np.asarray(null + rest * (1 - 2 * rng.integers(0, 2, draws)))


@cache
def _rough_cosines(size: int) -> FloatArray:
    """Orthonormal cosines over `size` blocks, of rising frequency, with cubics taken out: shape (size, size - 4)."""
    depth = np.linspace(-1, 1, size)
    cosines = np.cos(np.pi * (np.arange(size)[:, None] + 0.5) * np.arange(_DEGREE + 1, size) / size)
    basis, _ = np.linalg.qr(np.concatenate([np.vander(depth, _DEGREE + 1), cosines], axis=1))
    return np.asarray(basis[:, _DEGREE + 1 :], dtype=np.float64)
