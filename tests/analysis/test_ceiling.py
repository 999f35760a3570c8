from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.ceiling import Ceiling, CeilingVerdict, noise_ceiling, residual_ceiling
from layersig.analysis.overlap import kuncheva
from layersig.analysis.selections import top_k

BLOCKS, KINDS = 16, 4
N = BLOCKS * KINDS
TYPES = np.tile(np.arange(KINDS), BLOCKS)
DEPTHS = np.repeat(np.arange(BLOCKS), KINDS)


def smooth(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Independent rankings that are smooth over depth and alike within a block: no run knows of another."""
    walk = np.cumsum(rng.normal(size=(runs, BLOCKS, 1)), axis=1)
    return (walk + rng.normal(size=(runs, 1, KINDS)) + 0.3 * rng.normal(size=(runs, BLOCKS, KINDS))).reshape(runs, N)


def test_the_ceiling_is_the_mean_over_pairs_with_its_t_test() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=N) + rng.normal(size=(5, N))
    chosen = [set(np.flatnonzero(row)) for row in top_k(scores, 16)]
    pairs = {
        (i, j): float(kuncheva(np.array(float(len(chosen[i] & chosen[j]))), N, 16))
        for i, j in combinations(range(5), 2)
    }
    mean = np.mean(list(pairs.values()))
    without = np.array([np.mean([v for pair, v in pairs.items() if left not in pair]) for left in range(5)])
    se = np.sqrt(4 / 5 * np.sum((without - without.mean()) ** 2))
    found = noise_ceiling(scores, 16)
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx(mean)
    law = stats.hypergeom(N, 16, 16)
    floor = law.std() / (16 - law.mean()) / np.sqrt(10)
    assert found.p == pytest.approx(stats.t.sf(mean / max(se * np.sqrt(3 / 8), floor), 4))
    interval = found.interval(0.9)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(stats.t.interval(0.9, 4, mean, se)))


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_rankings_that_share_nothing_are_rarely_called_above_chance_however_smooth(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    p = [noise_ceiling(smooth(rng, seeds), 20).p for _ in range(400)]
    assert np.mean(np.array(p) <= 0.05) <= 0.08


def test_three_equal_overlaps_are_no_certainty() -> None:
    scores = np.zeros((3, N))
    scores[:, 0] = 2.0
    for run in range(3):
        scores[run, 1 + run] = 1.0
    found = noise_ceiling(scores, 2)
    assert found.estimate is not None
    assert found.estimate.se == pytest.approx(0.0, abs=1e-12)
    law = stats.hypergeom(N, 2, 2)
    spread = law.std() / (2 - law.mean())
    assert found.p == pytest.approx(stats.t.sf(found.estimate.value / (spread / np.sqrt(3)), 2))


@pytest.mark.parametrize(("seeds", "power"), [(3, 0.7), (5, 0.95)])
def test_rankings_that_share_half_of_their_variance_are_found_above_chance(seeds: int, power: float) -> None:
    rng = np.random.default_rng(seeds)
    p = [noise_ceiling(rng.normal(size=N) + rng.normal(size=(seeds, N)), 20).p for _ in range(100)]
    assert np.mean(np.array(p) <= 0.05) >= power


def test_type_and_depth_alone_are_agreement_but_none_on_single_layers() -> None:
    rng = np.random.default_rng(4)
    p = []
    for _ in range(200):
        scores = 2.0 * TYPES + 0.1 * (DEPTHS - 8.0) ** 2 + rng.normal(size=(5, N))
        whole = noise_ceiling(scores, 16).p
        assert whole is not None
        assert whole < 0.05
        p.append(residual_ceiling(scores, TYPES, DEPTHS).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.08
    single = residual_ceiling(rng.normal(size=N) + rng.normal(size=(5, N)), TYPES, DEPTHS).p
    assert single is not None
    assert single < 0.01


@pytest.mark.parametrize(
    ("scores", "verdict", "above"),
    [
        (np.random.default_rng(1).normal(size=(1, N)), CeilingVerdict.TOO_FEW_SEEDS, None),
        (np.random.default_rng(1).normal(size=(2, N)), CeilingVerdict.TOO_FEW_SEEDS, None),
        (np.random.default_rng(1).normal(size=(5, N)), CeilingVerdict.NOT_SHOWN, False),
        (np.tile(np.arange(float(N)), (3, 1)), CeilingVerdict.ALIKE, True),
        (np.tile(np.arange(N) // 8.0, (3, 1)), CeilingVerdict.ALIKE, True),
        (np.zeros((5, N)), CeilingVerdict.NOT_SHOWN, False),
    ],
)
def test_what_too_few_equal_or_constant_rankings_show(
    scores: np.ndarray, verdict: CeilingVerdict, above: bool | None
) -> None:
    found = noise_ceiling(scores, 16)
    assert found.verdict(found.p, 0.05) is verdict
    assert verdict.above_chance is above
    assert (found.interval(0.95) is None) == (verdict in (CeilingVerdict.TOO_FEW_SEEDS, CeilingVerdict.ALIKE))


def test_the_verdict_follows_the_adjusted_p() -> None:
    found = Ceiling(5, None, 0.02, alike=False)
    assert found.verdict(0.04, 0.05) is CeilingVerdict.ABOVE_CHANCE
    assert found.verdict(0.06, 0.05) is CeilingVerdict.NOT_SHOWN
