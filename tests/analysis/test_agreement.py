from itertools import permutations

import numpy as np
import pytest

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs, label_permutation_test
from layersig.analysis.overlap import pairwise_kappa
from layersig.analysis.rankcorr import normal_scores
from layersig.analysis.selections import top_k

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
    kappa = pairwise_kappa(top_k(scores, K))
    assert agreement.within.value == pytest.approx(kappa[np.triu_indices(5, 1)].mean(), abs=1e-12)
    assert np.isnan(agreement.between.value)
    assert np.isnan(agreement.ratio.value)


def _difference(scores: np.ndarray, own: np.ndarray, labels: np.ndarray, seeds: np.ndarray | None = None) -> float:
    """Within minus between of correlations divided by what the runs' own cells reach."""
    r = np.corrcoef(normal_scores(scores))
    pairs = [(i, j) for i in range(len(own)) for j in range(i)]
    reach = {c: np.mean([r[i, j] for i, j in pairs if own[i] == own[j] == c]) for c in own}
    free = {(i, j): r[i, j] / np.sqrt(reach[own[i]] * reach[own[j]]) for i, j in pairs}
    within = [free[i, j] for i, j in pairs if labels[i] == labels[j]]
    between = [free[i, j] for i, j in pairs if labels[i] != labels[j] and (seeds is None or seeds[i] != seeds[j])]
    return float(np.mean(within) - np.mean(between))


def test_unblocked_relabelling_is_exact():
    scores = _scores(np.random.default_rng(2), 2, 3, data_sd=0.4)
    cells = np.repeat([0, 1], 3)
    test = label_permutation_test(scores, RunDesign(cells), np.random.default_rng(0))
    assert test is not None
    assert test.draws is None
    observed = _difference(scores, cells, cells)
    drawn = [_difference(scores, cells, np.array(p)) for p in {tuple(p) for p in permutations(cells.tolist())}]
    assert test.p == pytest.approx(np.mean(np.array(drawn) >= observed - 1e-9), abs=1e-12)


def test_blocked_relabelling_is_exact():
    scores = _scores(np.random.default_rng(3), 3, 3, data_sd=0.3)
    cells, seeds = np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3)
    test = label_permutation_test(scores, RunDesign(cells, seeds), np.random.default_rng(0))
    assert test is not None
    observed = _difference(scores, cells, cells, seeds)
    drawn = []
    for first in permutations(range(3)):
        for second in permutations(range(3)):
            labels = np.array([[0, 1, 2], first, second]).T.reshape(-1)
            drawn.append(_difference(scores, cells, labels, seeds))
    assert test.p == pytest.approx(np.mean(np.array(drawn) >= observed - 1e-9), abs=1e-12)
    assert test.least == pytest.approx(1 / 36)


@pytest.mark.parametrize(
    ("data_sets", "seeds", "shared", "least"),
    [(2, 3, True, 1 / 4), (2, 5, True, 1 / 16), (3, 3, True, 1 / 36), (2, 3, False, 1 / 10), (2, 5, False, 1 / 126)],
)
def test_the_least_p_of_a_design_is_told_and_reached(data_sets: int, seeds: int, shared: bool, least: float):
    rng = np.random.default_rng(8)
    cells, numbers = np.repeat(np.arange(data_sets), seeds), np.tile(np.arange(seeds), data_sets)
    scores = rng.normal(size=(data_sets, 60))[cells] + 0.1 * rng.normal(size=(cells.size, 60))
    test = label_permutation_test(scores, RunDesign(cells, numbers if shared else None), rng)
    assert test is not None
    assert (test.least, test.p) == pytest.approx((least, least))


def test_many_runs_are_relabelled_at_random():
    rng = np.random.default_rng(4)
    different = label_permutation_test(_scores(rng, 3, 5, 1.0), RunDesign(np.repeat([0, 1, 2], 5)), rng, draws=199)
    assert different is not None
    assert (different.p, different.least) == pytest.approx((1 / 200, 1 / 200))
    assert different.draws == 199


def test_runs_that_do_not_agree_at_all_are_not_relabelled():
    rng = np.random.default_rng(5)
    assert label_permutation_test(np.ones((6, 60)), RunDesign(np.repeat([0, 1], 3)), rng) is None


@pytest.mark.parametrize("noise", [0.15, 0.3, 0.6])
def test_unequal_noise_alone_rarely_looks_like_a_difference(noise: float):
    rng = np.random.default_rng(6)
    cells, seeds = np.repeat([0, 1], 6), np.tile(np.arange(6), 2)
    sd = np.array([noise**0.5, 1.0])[cells, None]
    rejected = 0
    for _ in range(60):
        scores = rng.normal(size=150) + sd * rng.normal(size=(12, 150))
        test = label_permutation_test(scores, RunDesign(cells, seeds), rng)
        rejected += test is not None and test.p <= 0.05
    assert rejected / 60 <= 0.15


def test_wrong_designs_are_refused():
    scores, rng = np.zeros((4, 60)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least two runs"):
        agreement_jackknife_runs(scores, RunDesign(np.array([0, 0, 0, 1])), K)
    with pytest.raises(ValueError, match="scores must have shape"):
        agreement_jackknife_runs(scores[:3], RunDesign(np.array([0, 0, 1, 1])), K)
    with pytest.raises(ValueError, match="two cells"):
        label_permutation_test(scores, RunDesign(np.zeros(4, dtype=np.int64)), rng)
    with pytest.raises(ValueError, match="complete blocks"):
        label_permutation_test(scores, RunDesign(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])), rng)
