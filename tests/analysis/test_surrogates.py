import time

import numpy as np
import pytest

from layersig.analysis.identity import type_depth_fit
from layersig.analysis.rankcorr import normal_scores
from layersig.analysis.results import FloatArray, IntArray
from layersig.analysis.surrogates import Interior, interior, residuals, surrogate_test

ONE = np.ones((1, 1), dtype=np.bool_)


def _places(blocks: int, types: int) -> tuple[IntArray, IntArray]:
    return np.tile(np.arange(types), blocks), np.repeat(np.arange(blocks), types)


def _inside(types: IntArray, depths: IntArray) -> Interior:
    found = interior(types, depths)
    assert found is not None
    return found


def test_end_blocks_and_the_output_head_are_left_out():
    types, depths = _places(14, 3)
    found = _inside(np.append(types, 9), np.append(depths, 14))
    assert sorted(found.positions.tolist()) == [i for i in range(42) if 2 <= depths[i] <= 11]
    assert len(found.series) == 3
    assert interior(*_places(11, 3)) is None


def test_blocks_of_different_types_are_followed_type_by_type():
    """A hybrid (attention in every third block), a mixture whose first block is dense, several experts in a block."""
    depths = np.arange(36)
    hybrid = _inside((depths % 3 == 0).astype(np.int64), depths)
    assert [series.size for series in hybrid.series] == [21, 11]
    types, depths = _places(20, 4)
    mixture = np.where((types == 3) & (depths < 3), 8, types)
    assert [series.size for series in _inside(mixture, depths).series] == [16, 16, 16, 15]
    experts = np.where(types >= 2, 2, types)
    found = _inside(experts, depths)
    assert [series.size for series in found.series] == [16, 16, 16, 16]
    assert all(np.all(np.diff(depths[series]) == 1) for series in found.series)


def test_coefficients_are_the_residuals_of_the_fit():
    types, depths = _places(16, 3)
    where = _inside(types, depths)
    scores = np.random.default_rng(0).normal(size=(2, 48))
    at = np.sort(where.positions)
    values = normal_scores(scores[:, at])
    expected = values - type_depth_fit(values, types[at], depths[at])
    found = residuals(scores, where)
    np.testing.assert_allclose(found.correlation(found), np.corrcoef(expected), atol=1e-9)
    order = np.searchsorted(at, where.positions)
    unit = expected[:, order] / np.sqrt((expected**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.values, unit, atol=1e-9)


def test_type_and_smooth_depth_and_end_blocks_are_no_agreement():
    types, depths = _places(20, 5)
    where = _inside(types, depths)
    rng = np.random.default_rng(1)
    smooth = 9 * types + 0.01 * rng.permutation(5)[types] * depths**2
    assert np.all(residuals(np.full((2, 100), 0.1), where).values == 0)
    noise = 0.1 * rng.normal(size=(2, 100))
    noise[:, (depths < 2) | (depths > 17)] = 1e6
    a, b = (residuals(each[None], where) for each in smooth + noise)
    assert surrogate_test(a, b, ONE, rng, draws=199).p > 0.05


def test_the_statistic_is_the_mean_over_pairs():
    types, depths = _places(15, 4)
    scores = np.random.default_rng(2).normal(size=(5, 60))
    pairs = np.array([[False, True, True], [True, False, True]])
    a, b = (residuals(each, _inside(types, depths)) for each in (scores[:2], scores[2:]))
    expected = a.correlation(b)[pairs].mean()
    test = surrogate_test(a, b, pairs, np.random.default_rng(0), draws=50)
    assert test.statistic == pytest.approx(expected, abs=1e-12)
    assert test.resamples == 50


def _larger(observed: float, *nulls: list[float]) -> float:
    tails = [min(np.mean(np.array(null) >= observed), np.mean(np.array(null) <= observed)) for null in nulls]
    return min(1.0, 2 * max(tails))


@pytest.mark.parametrize("blocks", [15, 16])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_null_is_that_of_turning_and_of_flipping_the_second_ranking(blocks: int, seed: int):
    """Against rotations applied to the coefficients and signs applied to the blocks themselves."""
    rng = np.random.default_rng(seed)
    types, depths = _places(blocks, 3)
    where = _inside(types, depths)
    a, b = (residuals(rng.normal(size=(1, 3 * blocks)), where) for _ in range(2))
    frequencies = blocks - 8
    turned, flipped = [], []
    for _ in range(3000):
        moved = b.coefficients.copy()
        for first in range(0, frequencies - 1, 2):
            q, _ = np.linalg.qr(rng.normal(size=(2, 2)))
            q = q * np.sign(rng.normal(size=2))
            moved[0, first : first + 2] = q @ b.coefficients[0, first : first + 2]
        if frequencies % 2:
            moved[0, -1] *= rng.choice([-1, 1])
        turned.append(float((a.coefficients * moved).sum()))
        signs = rng.choice([-1, 1], size=blocks)
        flipped.append(float((a.values * b.values * signs[depths[where.positions]]).sum()))
    expected = _larger(float(a.correlation(b)[0, 0]), turned, flipped)
    assert surrogate_test(a, b, ONE, rng, draws=3000).p == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("sign", [1, -1])
def test_agreement_and_opposition_are_found(sign: int):
    types, depths = _places(30, 7)
    rng = np.random.default_rng(7)
    common = rng.normal(size=210)
    scores = np.stack([common + 0.5 * rng.normal(size=210), sign * common + 0.5 * rng.normal(size=210)])
    a, b = (residuals(each[None], _inside(types, depths)) for each in scores)
    test = surrogate_test(a, b, ONE, rng, draws=199)
    assert test.p == pytest.approx(2 / 200)
    assert np.sign(test.statistic) == sign


def _profiles(rng: np.random.Generator, kind: str, depths: IntArray) -> FloatArray:
    """Two independent rankings with a shape over depth that undoes a test that permutes or shifts."""
    scores = rng.normal(size=(2, depths.size))
    place = depths / depths.max() - 0.5
    edge = (depths < 2) | (depths > depths.max() - 2)
    if kind == "trend":
        scores += 4 * rng.normal(size=(2, 1)) * place
    if kind == "shared trend":
        scores += 4 * place
    if kind == "edge shift":
        scores += 3 * edge * rng.normal(size=(2, depths.max() + 1))[:, depths]
    if kind == "edge variance":
        scores *= np.where(edge, 3, 1)
    if kind == "random walk":
        scores = 0.5 * scores + rng.normal(size=(2, depths.max() + 1)).cumsum(axis=1)[:, depths] / 2
    if kind == "odd blocks inside":
        odd = np.random.default_rng(0).normal(size=depths.size) * (depths == 7)
        scores += 3 * odd * rng.choice([-1, 1], size=(2, depths.max() + 1))[:, depths]
    if kind == "growing variance":
        scores *= 2 + 2 * place
    return np.asarray(scores)


@pytest.mark.parametrize(
    "kind",
    [
        "flat",
        "trend",
        "shared trend",
        "edge shift",
        "edge variance",
        "random walk",
        "growing variance",
        "odd blocks inside",
    ],
)
def test_independent_rankings_of_any_shape_are_rarely_found_to_agree(kind: str):
    types, depths = _places(16, 5)
    where, rng = _inside(types, depths), np.random.default_rng(8)
    rejected = 0
    for _ in range(250):
        a, b = (residuals(each[None], where) for each in _profiles(rng, kind, depths))
        rejected += surrogate_test(a, b, ONE, rng, draws=99).p <= 0.05
    assert rejected / 250 < 0.1


def test_ten_thousand_surrogates_of_nine_runs_are_quick():
    types, depths = _places(32, 7)
    start = time.process_time()
    scores = np.random.default_rng(8).normal(size=(9, 224))
    a, b = (residuals(each, _inside(types, depths)) for each in (scores[:4], scores[4:]))
    surrogate_test(a, b, np.ones((4, 5), dtype=np.bool_), np.random.default_rng(9))
    assert time.process_time() - start < 2
