"""Overlap when the selected modules per type *and* per depth are both given: a Monte Carlo law."""

import numpy as np

from layersig.analysis.overlap import OverlapLaw
from layersig.analysis.results import BoolArray


def curveball_matrices(matrix: BoolArray, rng: np.random.Generator, draws: int, trades: int | None = None) -> BoolArray:
    """Random 0/1 matrices with the row and column sums of ``matrix``.

    One Markov chain: after a burn-in of ten times ``trades``, a matrix is kept every ``trades`` trades.

    Args:
        matrix: Shape (rows, columns); rows should be the shorter side, for instance module types.
        rng: Source of randomness.
        draws: Number of matrices kept.
        trades: Pair trades between two kept matrices; five per row when None.

    Returns:
        Shape (draws, rows, columns).

    Raises:
        ValueError: The matrix has fewer than two rows.

    Source:
        Strona et al. 2014, "A fast and unbiased procedure to randomize ecological binary matrices with fixed row and
        column totals".
    """
    rows = matrix.shape[0]
    if matrix.ndim != 2 or rows < 2:
        raise ValueError(f"a matrix with at least two rows is needed, got shape {matrix.shape}")
    trades = 5 * rows if trades is None else trades
    current = matrix.copy()
    kept = np.empty((draws, *matrix.shape), dtype=np.bool_)
    for draw in range(-10, draws):
        for _ in range(trades):
            _trade(current, rng)
        if draw >= 0:
            kept[draw] = current
    return kept


def both_margins_law(a: BoolArray, b: BoolArray, rng: np.random.Generator, draws: int = 9999) -> OverlapLaw:
    """Monte Carlo law of the overlap of ``a`` with random matrices that have the margins of ``b``.

    Args:
        a: First selection, shape (types, blocks); it stays as it is.
        b: Second selection, same shape, whose type and depth counts are kept.
        rng: Source of randomness.
        draws: Number of matrices.

    Returns:
        The law of ``draws`` matrices and ``b`` itself, so that its p-value at the observed overlap follows the +1 rule
        of Phipson and Smyth 2010. ``largest`` bounds the overlap by the smaller count of each type.
    """
    if a.shape != b.shape:
        raise ValueError(f"selections differ in shape: {a.shape} and {b.shape}")
    overlaps = np.append((curveball_matrices(b, rng, draws) & a).sum(axis=(1, 2)), (a & b).sum())
    support, counts = np.unique(overlaps, return_counts=True)
    largest = int(np.minimum(a.sum(axis=1), b.sum(axis=1)).sum())
    return OverlapLaw(int(a.sum()), int(b.sum()), largest, support.astype(np.int64), counts / overlaps.size)


def _trade(matrix: BoolArray, rng: np.random.Generator) -> None:
    i, j = rng.choice(matrix.shape[0], size=2, replace=False)
    tradable = np.flatnonzero(matrix[i] != matrix[j])
    values = matrix[i, tradable]
    rng.shuffle(values)
    matrix[i, tradable] = values
    matrix[j, tradable] = ~values
