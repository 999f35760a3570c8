from itertools import permutations

import numpy as np
import pytest

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs, label_permutation_test
from layersig.analysis.overlap import nogueira, pairwise_kappa, top_k

K = 12


def _scores(rng: np.random.Generator, cells: int, seeds: int, data_sd: float = 0.5, n: int = 60) -> np.ndarray:
    data = data_sd * rng.normal(size=(cells, 1, n))
    return (rng.normal(size=n) + data + 0.7 * rng.normal(size=(cells, seeds, n))).reshape(-1, n)


def _means(scores: np.ndarray, cells: np.ndarray, seeds: np.ndarray | None = None) -> tuple[float, float]:
    kappa = pairwise_kappa(top_k(scores, K))
    pairs = [(i, j) for i in range(len(cells)) for j in range(i)]
    within = [kappa[i, j] for i, j in pairs if cells[i] == cells[j]]
    between = [kappa[i, j] for i, j in pairs if cells[i] != cells[j] and (seeds is None or seeds[i] != seeds[j])]
    return float(np.mean(within)), float(np.mean(between))


@pytest.mark.parametrize("crossed", [False, True])
def test_jackknife_equals_leaving_runs_out_one_by_one(crossed: bool):
    scores = _scores(np.random.default_rng(0), 3, 4)
    cells, numbers = np.repeat([5, 2, 9], 4), np.tile([10, 11, 12, 13], 3)
    seeds = numbers if crossed else None
    agreement = agreement_jackknife_runs(scores, RunDesign(cells, seeds), K)
    within, between = _means(scores, cells, seeds)
    assert agreement.within.value == pytest.approx(within, abs=1e-12)
    assert agreement.between.value == pytest.approx(between, abs=1e-12)
    assert agreement.ratio.value == pytest.approx(between / within, abs=1e-12)

    def without(keep: np.ndarray) -> float:
        w, b = _means(scores[keep], cells[keep], None if seeds is None else seeds[keep])
        return b / w

    if crossed:
        left_out = np.array([without(numbers != seed) for seed in np.unique(numbers)])
        variance = 3 / 4 * ((left_out - left_out.mean()) ** 2).sum()
        assert agreement.ratio.df == 3
    else:
        left_out = np.array([without(np.arange(12) != run) for run in range(12)])
        variance = sum(3 / 4 * ((left_out[cells == c] - left_out[cells == c].mean()) ** 2).sum() for c in (5, 2, 9))
        assert agreement.ratio.df == 9
    assert agreement.ratio.se == pytest.approx(variance**0.5, abs=1e-12)


def test_one_cell_gives_the_noise_ceiling_only():
    scores = _scores(np.random.default_rng(1), 1, 5)
    agreement = agreement_jackknife_runs(scores, RunDesign(np.zeros(5, dtype=np.int64)), K)
    assert agreement.within.value == pytest.approx(nogueira(top_k(scores, K)).value, abs=1e-12)
    assert np.isnan(agreement.between.value)
    assert np.isnan(agreement.ratio.value)


def _p_by_permutation(scores: np.ndarray, cells: np.ndarray) -> float:
    within, between = _means(scores, cells)
    shuffled = {tuple(p) for p in permutations(cells.tolist())}
    statistics = [np.subtract(*_means(scores, np.array(labels))) for labels in shuffled]
    return float(np.mean(np.array(statistics) >= within - between - 1e-9))


def test_unblocked_relabelling_is_exact():
    scores = _scores(np.random.default_rng(2), 2, 3, data_sd=0.4)
    cells = np.repeat([0, 1], 3)
    test = label_permutation_test(scores, RunDesign(cells), K, np.random.default_rng(0))
    assert test.resamples is None
    assert test.p == pytest.approx(_p_by_permutation(scores, cells), abs=1e-12)


def test_blocked_relabelling_is_exact():
    scores = _scores(np.random.default_rng(3), 3, 3, data_sd=0.3)
    cells, seeds = np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3)
    test = label_permutation_test(scores, RunDesign(cells, seeds), K, np.random.default_rng(0))
    observed = np.subtract(*_means(scores, cells, seeds))
    statistics = []
    for first in permutations(range(3)):
        for second in permutations(range(3)):
            labels = np.array([[0, 1, 2], first, second]).T.reshape(-1)
            statistics.append(np.subtract(*_means(scores, labels, seeds)))
    assert test.p == pytest.approx(np.mean(np.array(statistics) >= observed - 1e-9), abs=1e-12)
    assert test.p >= 1 / 36 - 1e-12


def test_many_runs_are_relabelled_at_random():
    rng = np.random.default_rng(4)
    different = label_permutation_test(_scores(rng, 3, 5, 1.0), RunDesign(np.repeat([0, 1, 2], 5)), K, rng, draws=199)
    assert different.p == pytest.approx(1 / 200)
    assert different.resamples == 199


def test_wrong_designs_are_refused():
    scores, rng = np.zeros((4, 60)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least two runs"):
        agreement_jackknife_runs(scores, RunDesign(np.array([0, 0, 0, 1])), K)
    with pytest.raises(ValueError, match="scores must have shape"):
        agreement_jackknife_runs(scores[:3], RunDesign(np.array([0, 0, 1, 1])), K)
    with pytest.raises(ValueError, match="two cells"):
        label_permutation_test(scores, RunDesign(np.zeros(4, dtype=np.int64)), K, rng)
    with pytest.raises(ValueError, match="complete blocks"):
        label_permutation_test(scores, RunDesign(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])), K, rng)
