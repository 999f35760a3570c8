from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from layersig.analysis.overlap import (
    jaccard_matrix,
    jaccard_of_overlap,
    kappa_curve,
    kuncheva,
    law_given_strata,
    overlap_of_jaccard,
    pairwise_kappa,
    relabelling_tests,
    stratified_law,
    tied_overlap_law,
    uniform_law,
)
from layersig.analysis.selections import descending_ranks, membership, random_top_k, top_k


def _masks(n: int, k: int) -> np.ndarray:
    chosen = list(combinations(range(n), k))
    masks = np.zeros((len(chosen), n), dtype=bool)
    for row, positions in enumerate(chosen):
        masks[row, list(positions)] = True
    return masks


def test_one_law_is_computed_once_and_cannot_be_changed_by_those_who_share_it():
    law = uniform_law(23, 6, 9)
    assert uniform_law(np.int64(23), np.int64(6), np.int64(9)) is law
    with pytest.raises(ValueError, match="read-only"):
        law.pmf[0] = 1.0


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


@pytest.mark.parametrize("reverse", [False, True])
def test_permutation_tests_are_the_exact_laws_and_find_both_tails(reverse: bool):
    rng = np.random.default_rng(0)
    scores = rng.random(12)
    other = scores + 0.4 * rng.random(12)
    other = -other if reverse else other
    a, b = top_k(np.stack([scores, other]), 5)
    strata = np.repeat([3, 7, 9], 4)
    relabelled = np.array([(a & b[rng.permutation(12)]).sum() for _ in range(20_000)])
    within = np.array(
        [
            sum((a[4 * s : 4 * s + 4] & rng.permutation(b[4 * s : 4 * s + 4])).sum() for s in range(3))
            for _ in range(20_000)
        ]
    )
    found = relabelling_tests(scores, other, 5, strata, rng)
    for p, null in zip(found, (relabelled, within), strict=True):
        tail = min((null >= (a & b).sum()).mean(), (null <= (a & b).sum()).mean())
        assert p == pytest.approx(min(1, 2 * tail), abs=0.03)
    assert found[0] < 0.1


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


def test_kappa_curve_equals_selection_at_every_k():
    a, b = np.random.default_rng(4).normal(size=(2, 3, 25))
    curve = kappa_curve(a, b)
    for row in range(3):
        for k in range(1, 25):
            expected = pairwise_kappa(top_k(np.stack([a[row], b[row]]), k))[0, 1]
            assert curve[row, k - 1] == pytest.approx(expected, abs=1e-12)


def test_kappa_curve_is_the_same_by_counts_as_by_memberships():
    a, b = np.random.default_rng(4).normal(size=(2, 3, 25))
    ks = np.arange(1, 25)[:, None]
    shared = [(membership(x, ks) * membership(y, ks)).sum(axis=1) for x, y in zip(a, b, strict=True)]
    expected = [(each * 25 - ks[:, 0] ** 2) / (ks[:, 0] * (25 - ks[:, 0])) for each in shared]
    assert kappa_curve(a, b).tolist() == np.array(expected).tolist()


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
        law_given_strata(np.array([True]), np.array([True, False]), np.array([0, 0]))


TIED = {
    "constant": np.ones(24),
    "sparse": np.where(np.arange(24) % 5 == 0, np.arange(24.0), 0.0),
    "two levels": (np.arange(24) % 3 == 0).astype(float),
    "ranks cut to four": np.floor(np.arange(24) * 7 % 24 / 6),
    "no ties": np.arange(24.0) * 7 % 24,
}


@pytest.mark.parametrize("first", TIED)
@pytest.mark.parametrize("second", TIED)
@pytest.mark.parametrize("k", [4, 9, 18])
def test_overlap_is_the_mean_over_random_ways_to_break_ties(first: str, second: str, k: int):
    a, b = TIED[first], TIED[second]
    rng = np.random.default_rng(7)
    drawn = np.array([(random_top_k(a, k, rng) & random_top_k(b, k, rng)).sum() for _ in range(1500)])
    members = membership(np.stack([a, b]), k)
    error = 5 * drawn.std() / 1500**0.5 + 1e-9
    assert members[0] @ members[1] == pytest.approx(drawn.mean(), abs=error)
    expected = jaccard_of_overlap(drawn.astype(float), k, k)
    found = jaccard_matrix(a[None], b[None], k)[0, 0]
    assert found == pytest.approx(expected.mean(), abs=5 * expected.std() / 1500**0.5 + 1e-9)
    law = tied_overlap_law(*members)
    assert law.pmf.sum() == pytest.approx(1)
    assert law.mean == pytest.approx(members[0] @ members[1])
    assert kappa_curve(a[None], b[None])[0, k - 1] == pytest.approx(pairwise_kappa(members)[0, 1])


def test_rankings_without_information_agree_by_nothing():
    constant, informed = np.zeros((2, 40)), np.random.default_rng(0).normal(size=(2, 40))
    assert np.all(np.abs(pairwise_kappa(membership(constant, 12))) < 1e-12)
    assert np.all(np.abs(pairwise_kappa(membership(np.stack([constant[0], informed[0]]), 12))[0, 1]) < 1e-12)
    free, typed = relabelling_tests(constant[0], constant[1], 12, np.arange(40) % 4, np.random.default_rng(1))
    assert min(free, typed) > 0.3


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("k", [30, 75])
def test_independent_sparse_rankings_agree_by_chance_alone(share: float, k: int):
    rng = np.random.default_rng(2)
    scores = np.where(rng.random((60, 100)) < share, 0.0, rng.random((60, 100)))
    kappa = pairwise_kappa(membership(scores, k))[np.triu_indices(60, 1)]
    assert abs(kappa.mean()) < 0.02
    types = np.arange(100) % 4
    p = np.array([relabelling_tests(scores[i], scores[i + 1], k, types, rng) for i in range(0, 60, 2)])
    assert np.all((p < 0.05).mean(axis=0) < 0.2)


def test_membership_without_ties_is_the_selection():
    scores = np.random.default_rng(3).normal(size=(4, 30))
    np.testing.assert_array_equal(membership(scores, 9), top_k(scores, 9))
    np.testing.assert_array_equal(random_top_k(scores[0], 9, np.random.default_rng(0)), top_k(scores[0], 9))
