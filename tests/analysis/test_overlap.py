from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from layersig.analysis.overlap import (
    descending_ranks,
    jaccard,
    jaccard_bootstrap_runs,
    jaccard_of_overlap,
    jaccard_test_uniform,
    jaccard_test_within_strata,
    kappa_curve,
    kuncheva,
    law_given_strata,
    nogueira,
    overlap_of_jaccard,
    pairwise_kappa,
    stratified_law,
    top_k,
    uniform_law,
)


def _masks(n: int, k: int) -> np.ndarray:
    chosen = list(combinations(range(n), k))
    masks = np.zeros((len(chosen), n), dtype=bool)
    for row, positions in enumerate(chosen):
        masks[row, list(positions)] = True
    return masks


def test_uniform_law_equals_exact_enumeration():
    n, size_a, size_b = 8, 3, 5
    a = _masks(n, size_a)[7]
    overlaps = (_masks(n, size_b) & a).sum(axis=1)
    law = uniform_law(n, size_a, size_b)
    for x, probability in zip(law.support, law.pmf, strict=True):
        assert probability == pytest.approx((overlaps == x).mean(), abs=1e-12)
    assert law.jaccard_mean == pytest.approx((overlaps / (size_a + size_b - overlaps)).mean(), abs=1e-12)
    assert law.p_value(3).p == pytest.approx((overlaps >= 3).mean(), abs=1e-12)
    assert law.sd == pytest.approx(overlaps.std(), abs=1e-12)


def test_stratified_law_equals_exact_enumeration():
    first, second = _masks(5, 2), _masks(4, 3)
    a = np.concatenate([first[3], second[1]])
    overlaps = np.array([int((np.concatenate([x, y]) & a).sum()) for x in first for y in second])
    law = stratified_law(np.array([5, 4]), np.array([2, 3]), np.array([2, 3]))
    assert law.mean == pytest.approx(overlaps.mean(), abs=1e-12)
    for x, probability in zip(law.support, law.pmf, strict=True):
        assert probability == pytest.approx((overlaps == x).mean(), abs=1e-12)
    assert law.largest == 5
    assert law.kappa(5) == pytest.approx(1.0)
    assert law.kappa(law.mean) == pytest.approx(0.0)


def test_published_shape_has_the_known_chance_level():
    law = uniform_law(225, 169, 169)
    assert law.jaccard_mean == pytest.approx(0.602, abs=5e-4)
    assert law.mean == pytest.approx(126.9, abs=0.05)
    assert law.sd == pytest.approx(2.8, abs=0.05)
    low, high = law.jaccard_range(0.95)
    assert (round(low, 3), round(high, 3)) == (0.565, 0.649)
    shared = overlap_of_jaccard(0.90, 169, 169)
    assert shared == pytest.approx(160.1, abs=0.05)
    assert law.kappa(shared) == pytest.approx(0.789, abs=5e-4)
    assert law.kappa(shared) == pytest.approx(float(kuncheva(np.array(shared), 225, 169)), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "fraction", "expected"),
    [
        (225, 0.1, 0.0525),
        (225, 0.3, 0.179),
        (281, 0.5, 0.332),
        (281, 0.9, 0.819),
        (197, 0.75, 0.602),
        (197, 0.2, 0.111),
    ],
)
def test_chance_jaccard_of_other_shapes(n: int, fraction: float, expected: float):
    k = round(n * fraction)
    assert uniform_law(n, k, k).jaccard_mean == pytest.approx(expected, abs=1e-3)


def test_types_alone_can_make_an_overlap_of_092():
    kept = np.array([8, 161])
    law = stratified_law(np.array([64, 161]), kept, kept)
    assert law.mean == pytest.approx(162.0)
    assert law.jaccard_mean == pytest.approx(0.920, abs=1e-3)


def test_permutation_tests_are_the_exact_laws():
    rng = np.random.default_rng(0)
    a, b = top_k(rng.random((2, 12)), 5)
    strata = np.repeat([3, 7, 9], 4)
    relabelled = np.array([(a & b[rng.permutation(12)]).sum() for _ in range(20_000)])
    assert jaccard_test_uniform(a, b).p == pytest.approx((relabelled >= (a & b).sum()).mean(), abs=0.015)
    within = np.array(
        [
            sum((a[4 * s : 4 * s + 4] & rng.permutation(b[4 * s : 4 * s + 4])).sum() for s in range(3))
            for _ in range(20_000)
        ]
    )
    test = jaccard_test_within_strata(a, b, strata)
    assert test.p == pytest.approx((within >= (a & b).sum()).mean(), abs=0.015)
    assert test.statistic == jaccard(a, b)
    assert test.resamples is None


def test_law_given_strata_is_uniform_for_one_stratum():
    a, b = top_k(np.random.default_rng(1).random((2, 20)), 6)
    one = law_given_strata(a, b, np.zeros(20, dtype=np.int64))
    np.testing.assert_allclose(one.pmf, uniform_law(20, 6, 6).pmf, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.data())
def test_jaccard_and_overlap_are_inverse(n: int, data: st.DataObject):
    a, b = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    x = data.draw(st.integers(max(0, a + b - n), min(a, b)))
    assert overlap_of_jaccard(float(jaccard_of_overlap(np.array(float(x)), a, b)), a, b) == pytest.approx(x, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 8), st.integers(4, 20), st.integers(0, 2**32 - 1), st.data())
def test_mean_pairwise_kuncheva_is_nogueira(runs: int, n: int, seed: int, data: st.DataObject):
    k = data.draw(st.integers(1, n - 1))
    selections = top_k(np.random.default_rng(seed).random((runs, n)), k)
    pairs = pairwise_kappa(selections)[np.triu_indices(runs, 1)]
    assert nogueira(selections).value == pytest.approx(pairs.mean(), abs=1e-10)


def test_nogueira_standard_error_is_the_spread_over_studies():
    rng = np.random.default_rng(3)
    signal = rng.normal(size=60)
    studies = [nogueira(top_k(signal + rng.normal(size=(60, 60)), 15)) for _ in range(300)]
    spread = np.std([study.value for study in studies])
    assert np.mean([study.se for study in studies]) == pytest.approx(spread, rel=0.12)


def test_nogueira_gives_no_interval_below_twenty_runs():
    few = nogueira(top_k(np.random.default_rng(0).random((19, 30)), 10))
    assert few.interval().half_width == np.inf


def test_kappa_curve_equals_selection_at_every_k():
    a, b = np.random.default_rng(4).normal(size=(2, 3, 25))
    curve = kappa_curve(a, b)
    for row in range(3):
        for k in range(1, 25):
            expected = pairwise_kappa(top_k(np.stack([a[row], b[row]]), k))[0, 1]
            assert curve[row, k - 1] == pytest.approx(expected, abs=1e-12)


def test_ties_are_broken_by_index():
    assert descending_ranks(np.array([1.0, 2.0, 2.0, 0.0])).tolist() == [2, 0, 1, 3]


def test_kuncheva_is_the_correlation_of_indicators():
    a, b = top_k(np.random.default_rng(5).random((2, 40)), 11)
    assert pairwise_kappa(np.stack([a, b]))[0, 1] == pytest.approx(stats.pearsonr(a.astype(float), b.astype(float))[0])


@pytest.mark.parametrize("k", [0, 10])
def test_kappa_has_no_meaning_at_the_ends(k: int):
    with pytest.raises(ValueError, match="0 < k < n"):
        kuncheva(np.array(1.0), 10, k)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="same number selected"):
        pairwise_kappa(np.array([[True, False, False], [True, True, False]]))
    with pytest.raises(ValueError, match="between 0 and n"):
        uniform_law(5, 6, 2)
    with pytest.raises(ValueError, match="boolean masks"):
        jaccard(np.array([True]), np.array([True, False]))


def _runs(seed: int, runs: int, n: int = 30, k: int = 10):
    rng = np.random.default_rng(seed)
    return top_k(np.linspace(0, 2, n) + rng.normal(size=(runs, n)), k)


def test_bootstrap_over_runs_is_that_of_drawing_rows():
    a, b = _runs(1, 6), _runs(2, 4)
    rng = np.random.default_rng(3)
    index = np.array([[jaccard(x, y) for y in b] for x in a])
    direct = [index[np.ix_(rng.integers(0, 6, 6), rng.integers(0, 4, 4))].mean() for _ in range(8000)]
    found = jaccard_bootstrap_runs(a, b, np.random.default_rng(0), draws=8000, level=0.9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(direct, [0.05, 0.95])), abs=0.01)
    assert found.level == 0.9
    assert found.contains(float(index.mean()))
    assert found == jaccard_bootstrap_runs(a, b, np.random.default_rng(0), draws=8000, level=0.9)


def test_bootstrap_of_a_cell_with_itself_is_biased_as_its_docstring_says():
    a = _runs(4, 5)
    between = np.mean([jaccard(a[i], a[j]) for i in range(5) for j in range(i)])
    found = jaccard_bootstrap_runs(a, a, np.random.default_rng(0))
    assert (found.low + found.high) / 2 > between + 0.05


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (_runs(1, 1), _runs(2, 3), "runs >= 2"),
        (_runs(1, 3), _runs(2, 3, n=31), "equal N"),
        (_runs(1, 3), np.zeros((3, 30), dtype=bool), "selects nothing"),
    ],
)
def test_bootstrap_over_runs_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        jaccard_bootstrap_runs(a, b, np.random.default_rng(0))
