import numpy as np
import pytest

from layersig.analysis.jackknife import bootstrap_mean, jackknife_mean, pair_means_without


def _matrix(seed: int, runs: int) -> np.ndarray:
    matrix = np.random.default_rng(seed).random((runs, runs))
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("units", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 2], [0, 1, 2, 3, -1, -1]])
def test_error_is_that_of_leaving_units_out_one_by_one(units: list[int]):
    matrix, unit = _matrix(0, 6), np.array(units)
    pairs = (unit[:, None] != unit) | ((unit < 0)[:, None] & (unit < 0) & ~np.eye(6, dtype=bool))
    strata = np.zeros(max(units) + 1, dtype=np.int64)
    found = jackknife_mean(matrix, pairs, unit, strata)
    assert found.value == pytest.approx(matrix[pairs].mean())
    left = []
    for out in range(max(units) + 1):
        kept = unit != out
        left.append(matrix[np.ix_(kept, kept)][pairs[np.ix_(kept, kept)]].mean())
    count = len(left)
    expected = ((count - 1) / count * np.sum((np.array(left) - np.mean(left)) ** 2)) ** 0.5
    assert (found.se, found.df) == pytest.approx((expected, count - 1))


def test_bootstrap_is_that_of_drawing_units_that_never_meet_themselves():
    matrix, unit = _matrix(1, 5), np.arange(5)
    pairs, strata = ~np.eye(5, dtype=bool), np.zeros(5, dtype=np.int64)
    rng, direct = np.random.default_rng(2), []
    while len(direct) < 4000:
        drawn = rng.integers(0, 5, 5)
        met = [matrix[i, j] for i in drawn for j in drawn if i != j]
        direct += [np.mean(met)] if met else []
    found = bootstrap_mean(matrix, pairs, unit, strata, np.random.default_rng(3), draws=4000, level=0.9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(direct, [0.05, 0.95])), abs=0.02)
    assert found == bootstrap_mean(matrix, pairs, unit, strata, np.random.default_rng(3), draws=4000, level=0.9)


def test_where_a_unit_takes_all_pairs_with_it_nothing_is_known():
    matrix = np.full((4, 4), 0.1) + 0.2 * np.eye(4)
    units = np.array([0, 1, 0, 1])
    pairs = (units[:, None] != units) & np.array([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    assert np.isnan(pair_means_without(matrix, pairs, units)).all()
