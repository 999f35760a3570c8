import numpy as np
import pytest

from layersig.analysis.rank_intervals import rank_intervals_items_and_seeds, rank_intervals_seeds
from layersig.analysis.rankcorr import normal_scores


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


def layers(rng, effects, noise, seeds=5):
    return effects + noise * rng.normal(size=(seeds, effects.size))


def test_layers_far_apart_have_ranks_of_their_own_and_equal_ones_share_them():
    rng = np.random.default_rng(2)
    effects = 10.0 * np.repeat(np.arange(4), 5)
    found = rank_intervals_seeds(layers(rng, effects, 1.0, 10))
    assert [(r.best, r.worst) for r in found] == [(last - 4, last) for last in (20, 15, 10, 5) for _ in range(5)]


@pytest.mark.parametrize("seeds", [5, 8])
def test_true_ranks_lie_in_all_sets_of_a_ranking_nearly_always(seeds):
    rng = np.random.default_rng(seeds)
    wrong = 0
    for _ in range(60):
        effects = rng.normal(size=40)
        spread = np.sqrt(5 / rng.chisquare(5, size=40))
        ranks = (-effects).argsort().argsort() + 1
        found = rank_intervals_seeds(layers(rng, effects, 0.5 * spread, seeds))
        wrong += any(not r.best <= rank <= r.worst for r, rank in zip(found, ranks, strict=True))
    assert wrong <= 6


def test_noise_alone_sets_no_layer_apart():
    rng = np.random.default_rng(4)
    apart = [
        any((r.best, r.worst) != (1, 30) for r in rank_intervals_seeds(rng.normal(size=(5, 30)))) for _ in range(100)
    ]
    assert np.mean(apart) <= 0.1


def test_sets_are_narrower_with_more_seeds_and_do_not_depend_on_the_scale():
    rng = np.random.default_rng(5)
    scores = layers(rng, rng.normal(size=40), 0.3, 12)

    def width(values):
        return np.mean([r.worst - r.best for r in rank_intervals_seeds(values)])

    assert width(scores) < width(scores[:5])
    assert rank_intervals_seeds(np.exp(scores)) == rank_intervals_seeds(scores)


def test_seeds_that_rank_alike_show_nothing_of_the_rank_of_a_layer():
    alike = np.tile(np.arange(100.0), (5, 1))
    assert {(r.best, r.worst) for r in rank_intervals_seeds(alike)} == {(1, 100)}
    nearly = alike.copy()
    nearly[0, [40, 41]] = nearly[0, [41, 40]]  # most pairs of layers keep their distance in all seeds
    assert {(r.best, r.worst) for r in rank_intervals_seeds(nearly)} == {(1, 100)}


def test_neighbours_that_keep_their_ranks_are_told_apart_no_better_than_those_that_nearly_do():
    scores = np.arange(40.0) + 0.6 * np.random.default_rng(1).normal(size=(5, 40))
    still = np.ptp(normal_scores(scores), axis=0) == 0
    found = rank_intervals_seeds(scores)
    neighbours = [place for place in range(39) if still[place] and still[place + 1]]
    assert len(neighbours) == 9
    for place in neighbours:
        assert found[place + 1].worst >= found[place].best


def test_layers_that_no_seed_tells_apart_may_hold_any_rank():
    assert {(r.best, r.worst) for r in rank_intervals_seeds(np.zeros((5, 6)))} == {(1, 6)}
    with pytest.raises(ValueError, match="seeds >= 5"):
        rank_intervals_seeds(np.zeros((4, 6)))
