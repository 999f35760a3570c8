"""Tests of rank agreement that respect depth: surrogates that keep smoothness and the bond between types.

Scores of neighbouring blocks are alike, and so are the scores of the types of one block. Permuting modules one by one
breaks both, finds a few dozen independent values where there are two hundred modules, and rejects far too often. A
surrogate here changes each type over the blocks *jointly*, so that type means, smoothness over depth and the
correlation between types survive, while the alignment with another ranking is lost.

The null hypothesis is "the groups agree only through module types and through being smooth over depth". A depth trend
that the groups share counts as agreement; ``identity`` separates it.
"""

from typing import Protocol

import numpy as np
from scipy import stats

from layersig.analysis.modulegrid import ModuleGrid
from layersig.analysis.overlap import top_k
from layersig.analysis.results import FloatArray, IntArray, PValue, monte_carlo_p

_CHUNK = 500


class DrawSurrogates(Protocol):
    """Draws surrogates of fields over depth that keep every type's mean and sum of squares."""

    def __call__(self, fields: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
        """From shape (fields, blocks, types) to shape (draws, fields, blocks, types)."""
        ...


def phase_surrogates(fields: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """Joint Fourier-phase surrogates, the default: random phases, the same for all types of a field.

    Source:
        Ebisuzaki 1997 (random phases); Prichard and Theiler 1994 (same phases for all channels). Burt et al. 2020 put
        the original values back by rank; that is not done here, since the statistics below are inner products and
        putting back makes the surrogates rougher than the data.
    """
    blocks = fields.shape[1]
    spectrum = np.fft.rfft(fields, axis=1)
    angles = rng.uniform(0, 2 * np.pi, size=(draws, *spectrum.shape[:2]))
    angles[:, :, 0] = 0
    if blocks % 2 == 0:
        angles[:, :, -1] = np.pi * rng.integers(0, 2, size=angles.shape[:2])
    return np.fft.irfft(spectrum * np.exp(1j * angles)[..., None], n=blocks, axis=2)


def shift_surrogates(fields: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """Joint circular shifts, with reversal half of the time: 2 x blocks rearrangements per field.

    Exact for rankings that are circularly stationary over depth and look alike in both directions.
    """
    blocks = fields.shape[1]
    shape = (draws, fields.shape[0], 1)
    direction = 1 - 2 * rng.integers(0, 2, size=shape)
    return _rearranged(fields, (rng.integers(0, blocks, size=shape) + direction * np.arange(blocks)) % blocks)


def block_surrogates(fields: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """Joint permutation of stretches of about sqrt(blocks) neighbours, cut at a random offset of the circle."""
    blocks = fields.shape[1]
    stretch = np.arange(blocks) // max(2, round(blocks**0.5))
    shape = (draws, fields.shape[0])
    keys = rng.random((*shape, int(stretch[-1]) + 1))[:, :, stretch] + np.arange(blocks) * 1e-12
    return _rearranged(fields, (np.argsort(keys, axis=-1) + rng.integers(0, blocks, size=(*shape, 1))) % blocks)


def within_type_surrogates(fields: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """Independent permutation inside every type. Descriptive only: it ignores depth, and rejects too often."""
    return rng.permuted(np.broadcast_to(fields, (draws, *fields.shape)), axis=2)


def _rearranged(fields: FloatArray, orders: IntArray) -> FloatArray:
    return np.take_along_axis(fields[None], orders[..., None], axis=2)


def surrogate_test(
    scores: FloatArray,
    grid: ModuleGrid,
    groups: IntArray,
    rng: np.random.Generator,
    *,
    k: int | None = None,
    draws: int = 9999,
    draw: DrawSurrogates = phase_surrogates,
) -> PValue:
    """Test whether groups of rankings agree beyond module types and smoothness over depth.

    The statistic is the mean over all pairs of runs of different groups of Kuncheva's kappa at ``k``, or of Spearman's
    correlation. It is a function of the fields that the groups' runs sum to, of indicators of selection or of centred
    ranks, so the surrogates are drawn of these fields: the agreement of runs inside a group is kept. One group stays as
    it is, since only the alignment between groups matters.

    Args:
        scores: Shape (runs, N).
        grid: Where the modules lie.
        groups: Group (data set, model, scorer) of each run, shape (runs,), any integers.
        rng: Source of randomness.
        k: Size of the selection, or None for Spearman's correlation of whole rankings.
        draws: Number of surrogates.
        draw: Kind of surrogate; see :class:`DrawSurrogates`.

    Returns:
        One-sided p-value for agreement above the surrogates, with the +1 rule.

    Raises:
        ValueError: Shapes do not fit, k is not inside (0, N), or there is one group only.
    """
    if scores.ndim != 2 or scores.shape != (groups.size, grid.n):
        raise ValueError(f"scores must have shape ({groups.size} runs, {grid.n} modules), got {scores.shape}")
    if k is not None and not 0 < k < grid.n:
        raise ValueError(f"kappa needs 0 < k < {grid.n}, got {k}")
    codes, group = np.unique(groups, return_inverse=True)
    if codes.size < 2:
        raise ValueError("a test of agreement between groups needs at least two groups")
    member = np.eye(codes.size)[group]
    sums = member.T @ _unit_features(scores, k)
    pairs = (groups.size**2 - float((member.sum(axis=0) ** 2).sum())) / 2
    # The sum over pairs of groups is half of |sum of groups|^2 less the squares, which no surrogate changes.
    constant = float((sums**2).sum())
    outside = float((sums[:, grid.fixed].sum(axis=0) ** 2).sum())
    observed = (float((sums.sum(axis=0) ** 2).sum()) - constant) / 2 / pairs
    still, moving = grid.fields(sums[0]), grid.fields(sums[1:])
    null = np.empty(draws)
    for start in range(0, draws, _CHUNK):
        total = still + draw(moving, rng, min(_CHUNK, draws - start)).sum(axis=1)
        null[start : start + len(total)] = ((total**2).sum(axis=(1, 2)) + outside - constant) / 2 / pairs
    return monte_carlo_p(observed, null)


def _unit_features(scores: FloatArray, k: int | None) -> FloatArray:
    """Centred vectors of length one whose inner products are kappa at ``k``, or Spearman's correlation."""
    raw = stats.rankdata(scores, axis=1) if k is None else top_k(scores, k).astype(np.float64)
    centred = raw - raw.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).sum(axis=1, keepdims=True)), dtype=np.float64)
