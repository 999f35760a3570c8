import time

import numpy as np
import pytest

from layersig.analysis.modulegrid import ModuleGrid, module_grid
from layersig.analysis.overlap import pairwise_kappa, top_k
from layersig.analysis.rankcorr import spearman
from layersig.analysis.results import FloatArray
from layersig.analysis.surrogates import (
    DrawSurrogates,
    block_surrogates,
    phase_surrogates,
    shift_surrogates,
    surrogate_test,
    within_type_surrogates,
)

DEPTH_KINDS = [phase_surrogates, shift_surrogates, block_surrogates]
KINDS = [*DEPTH_KINDS, within_type_surrogates]


def _grid(blocks: int = 12, types: int = 3, head: bool = True) -> ModuleGrid:
    kinds, depths = np.tile(np.arange(types), blocks), np.repeat(np.arange(blocks), types)
    if head:
        kinds, depths = np.append(kinds, 99), np.append(depths, blocks)
    return module_grid(kinds, depths)


@pytest.mark.parametrize("draw", KINDS)
@pytest.mark.parametrize("blocks", [11, 12])
def test_surrogates_keep_the_mean_and_the_squares_of_each_type(draw: DrawSurrogates, blocks: int):
    fields = np.random.default_rng(0).normal(size=(2, blocks, 3))
    drawn = draw(fields, np.random.default_rng(1), 50)
    assert drawn.shape == (50, *fields.shape)
    np.testing.assert_allclose(drawn.mean(axis=2), np.broadcast_to(fields.mean(axis=1), (50, 2, 3)), atol=1e-12)
    np.testing.assert_allclose((drawn**2).sum(axis=2), np.broadcast_to((fields**2).sum(axis=1), (50, 2, 3)), atol=1e-9)
    assert len({field.round(9).tobytes() for field in drawn}) > 20


@pytest.mark.parametrize("draw", [shift_surrogates, block_surrogates, within_type_surrogates])
def test_rearrangements_keep_the_values(draw: DrawSurrogates):
    fields = np.random.default_rng(0).normal(size=(2, 13, 3))
    drawn = draw(fields, np.random.default_rng(1), 20)
    np.testing.assert_array_equal(np.sort(drawn, axis=2), np.broadcast_to(np.sort(fields, axis=1), drawn.shape))


@pytest.mark.parametrize("draw", DEPTH_KINDS)
def test_depth_surrogates_keep_the_products_of_types(draw: DrawSurrogates):
    fields = np.random.default_rng(2).normal(size=(1, 30, 4))
    drawn = draw(fields, np.random.default_rng(3), 20)
    products = np.einsum("dflt,dflu->dftu", drawn, drawn)
    expected = np.einsum("flt,flu->ftu", fields, fields)
    np.testing.assert_allclose(products, np.broadcast_to(expected, products.shape), atol=1e-9)


def _circular_autocorrelation(fields: FloatArray) -> FloatArray:
    return np.asarray((fields * np.roll(fields, 1, axis=-2)).sum(axis=-2))


@pytest.mark.parametrize("draw", [phase_surrogates, shift_surrogates])
def test_phases_and_shifts_keep_the_circular_autocorrelation(draw: DrawSurrogates):
    fields = np.random.default_rng(4).normal(size=(1, 30, 2)).cumsum(axis=1)
    drawn = draw(fields, np.random.default_rng(5), 20)
    expected = np.broadcast_to(_circular_autocorrelation(fields), (20, 1, 2))
    np.testing.assert_allclose(_circular_autocorrelation(drawn), expected, atol=1e-9)


def test_block_surrogates_keep_most_neighbours_and_permutation_does_not():
    fields = np.arange(64.0)[None, :, None]

    def neighbours(draw: DrawSurrogates) -> float:
        steps = np.diff(draw(fields, np.random.default_rng(6), 100)[:, 0, :, 0], axis=1) % 64
        return float((steps == 1).mean())

    assert neighbours(block_surrogates) > 0.85
    assert neighbours(within_type_surrogates) < 0.05


def test_shifts_are_shifts_and_reversals():
    drawn = shift_surrogates(np.arange(6.0)[None, :, None], np.random.default_rng(0), 300)[:, 0, :, 0]
    steps = np.diff(drawn, axis=1) % 6
    assert np.all((steps == steps[:, :1]) & np.isin(steps, [1, 5]))
    assert len({tuple(row) for row in drawn}) == 12


@pytest.mark.parametrize("k", [None, 9])
def test_statistic_is_the_mean_over_pairs_of_groups(k: int | None):
    grid = _grid()
    scores = np.random.default_rng(4).normal(size=(5, grid.n))
    groups = np.array([7, 7, 3, 3, 5])
    test = surrogate_test(scores, grid, groups, np.random.default_rng(0), k=k, draws=20)
    pairs = [(i, j) for i in range(5) for j in range(i) if groups[i] != groups[j]]
    if k is None:
        expected = np.mean([spearman(scores[i], scores[j]) for i, j in pairs])
    else:
        kappa = pairwise_kappa(top_k(scores, k))
        expected = np.mean([kappa[i, j] for i, j in pairs])
    assert test.statistic == pytest.approx(expected, abs=1e-12)
    assert test.resamples == 20


@pytest.mark.parametrize("draw", [shift_surrogates, block_surrogates, within_type_surrogates])
def test_null_statistics_are_kappas_of_rearranged_rankings(draw: DrawSurrogates):
    grid = _grid()
    scores = np.random.default_rng(5).normal(size=(2, grid.n))
    rearranged = np.broadcast_to(scores[1], (99, grid.n)).copy()
    rearranged[:, grid.index] = draw(grid.fields(scores[1])[None], np.random.default_rng(6), 99)[:, 0]
    kappa = [pairwise_kappa(top_k(np.stack([scores[0], s]), 10))[0, 1] for s in rearranged]
    observed = pairwise_kappa(top_k(scores, 10))[0, 1]
    expected = (1 + np.sum(np.array(kappa) >= observed - 1e-9)) / 100
    test = surrogate_test(scores, grid, np.array([0, 1]), np.random.default_rng(6), k=10, draws=99, draw=draw)
    assert test.p == pytest.approx(expected)


def test_runs_of_a_group_move_together():
    """With two equal runs in each group the test is that of one run in each."""
    grid = _grid()
    scores = np.random.default_rng(6).normal(size=(2, grid.n))
    single = surrogate_test(scores, grid, np.array([0, 1]), np.random.default_rng(7), k=10, draws=199)
    double = surrogate_test(
        scores.repeat(2, axis=0), grid, np.repeat([0, 1], 2), np.random.default_rng(7), k=10, draws=199
    )
    assert double.p == single.p
    assert double.statistic == pytest.approx(single.statistic, abs=1e-12)


def test_agreement_is_found():
    grid = _grid(blocks=30, types=7)
    rng = np.random.default_rng(7)
    scores = rng.normal(size=grid.n) + 0.5 * rng.normal(size=(4, grid.n))
    assert surrogate_test(scores, grid, np.array([0, 0, 1, 1]), rng, k=60, draws=199).p == pytest.approx(1 / 200)


def test_ten_thousand_surrogates_of_nine_runs_are_quick():
    grid = _grid(blocks=32, types=7)
    assert grid.n == 225
    scores = np.random.default_rng(8).normal(size=(9, 225))
    start = time.process_time()
    surrogate_test(scores, grid, np.arange(9), np.random.default_rng(9), k=68, draws=10_000)
    assert time.process_time() - start < 5


def test_wrong_input_is_refused():
    grid = _grid()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="two groups"):
        surrogate_test(np.zeros((2, grid.n)), grid, np.zeros(2, dtype=np.int64), rng, k=3)
    with pytest.raises(ValueError, match="0 < k <"):
        surrogate_test(np.zeros((2, grid.n)), grid, np.arange(2), rng, k=grid.n)
    with pytest.raises(ValueError, match="scores must have shape"):
        surrogate_test(np.zeros((2, 5)), grid, np.arange(2), rng, k=3)
    with pytest.raises(ValueError, match="exactly one module in each"):
        module_grid(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]))
