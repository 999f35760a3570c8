from itertools import product

import numpy as np
import pytest

from layersig.analysis.curveball import both_margins_law, curveball_matrices


def test_margins_are_kept():
    matrix = np.random.default_rng(0).random((7, 30)) < 0.3
    drawn = curveball_matrices(matrix, np.random.default_rng(1), 50)
    assert np.all(drawn.sum(axis=1) == matrix.sum(axis=0))
    assert np.all(drawn.sum(axis=2) == matrix.sum(axis=1))


def test_every_matrix_with_the_margins_is_equally_likely():
    matrix = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=bool)
    everything = [np.array(bits).reshape(3, 3) for bits in product([False, True], repeat=9)]
    possible = [
        m for m in everything
        if (m.sum(0) == matrix.sum(0)).all() and (m.sum(1) == matrix.sum(1)).all()
    ]  # fmt: skip
    drawn = curveball_matrices(matrix, np.random.default_rng(2), 2000)
    counts = np.array([(drawn == m).all(axis=(1, 2)).sum() for m in possible])
    assert counts.sum() == 2000
    assert np.abs(counts / 2000 - 1 / len(possible)).max() < 0.03


def test_law_follows_the_plus_one_rule():
    a = np.eye(5, dtype=bool)
    law = both_margins_law(a, a, np.random.default_rng(3), draws=99)
    assert law.pmf.sum() == pytest.approx(1)
    assert law.p_value(5).p >= 1 / 100
    assert law.largest == 5
    # A random permutation matrix has one fixed point on average.
    wide = both_margins_law(a, a, np.random.default_rng(4), draws=1500)
    assert wide.mean == pytest.approx(1.0, abs=0.1)


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="two rows"):
        curveball_matrices(np.ones((1, 4), dtype=bool), np.random.default_rng(0), 1)
