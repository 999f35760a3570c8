import numpy as np
import pytest

from layersig.analysis.rank_intervals import rank_intervals_items_and_seeds


def test_clear_ranks_are_points_and_equal_arms_share_them():
    rng = np.random.default_rng(0)
    effects = np.array([0.0, 2.0, 1.0, 1.0])
    ranks = rank_intervals_items_and_seeds(effects[:, None, None] + 0.1 * rng.normal(size=(4, 6, 50)))
    assert [(r.best, r.worst) for r in ranks] == [(4, 4), (1, 1), (2, 3), (2, 3)]
    assert ranks[1].mean == pytest.approx(2.0, abs=0.05)


def test_arms_that_differ_less_than_noise_may_hold_any_rank():
    tables = np.random.default_rng(1).normal(size=(3, 5, 40))
    assert {(r.best, r.worst) for r in rank_intervals_items_and_seeds(tables)} == {(1, 3)}


def test_fewer_than_five_seeds_are_refused():
    with pytest.raises(ValueError, match="seeds >= 5"):
        rank_intervals_items_and_seeds(np.zeros((3, 4, 10)))
