import numpy as np
import pytest

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.modulegrid import module_grid
from layersig.analysis.sharing import (
    RatioBound,
    SharingVerdict,
    ratio_bound_bootstrap_residuals,
    ratio_bound_jackknife_runs,
    sharing_test,
)

GRID = module_grid(np.append(np.tile(np.arange(4), 15), 4), np.append(np.repeat(np.arange(15), 4), 15))


def _scores(rng: np.random.Generator, seeds: int, data_sd: float) -> np.ndarray:
    data = data_sd * rng.normal(size=(3, 1, GRID.n))
    return (rng.normal(size=GRID.n) + data + 0.5 * rng.normal(size=(3, seeds, GRID.n))).reshape(-1, GRID.n)


@pytest.mark.parametrize(
    ("lower", "seeds", "verdict"),
    [
        (0.91, 5, SharingVerdict.SHARED),
        (0.90, 5, SharingVerdict.NOT_SHOWN),
        (0.99, 4, SharingVerdict.TOO_FEW_SEEDS),
    ],
)
def test_verdict_follows_bound_and_seeds(lower: float, seeds: int, verdict: SharingVerdict):
    design = RunDesign(np.append(np.repeat([0, 1], seeds), [1]))
    assert sharing_test(RatioBound(1.0, lower, 0.95), design, margin=0.9).verdict is verdict


def test_jackknife_bound_is_one_sided():
    scores, design = _scores(np.random.default_rng(0), 5, 0.3), RunDesign(np.repeat([0, 1, 2], 5))
    bound = ratio_bound_jackknife_runs(scores, design, 20)
    ratio = agreement_jackknife_runs(scores, design, 20).ratio
    assert bound.lower == pytest.approx(ratio.interval(0.90).low)
    assert bound.ratio == ratio.value


def test_bootstrap_error_matches_the_spread_over_studies():
    rng = np.random.default_rng(1)
    fixed = rng.normal(size=GRID.n) + 0.4 * rng.normal(size=(3, 1, GRID.n))
    design = RunDesign(np.repeat([0, 1, 2], 5))
    ratios, reaches = [], []
    for _ in range(60):
        scores = (fixed + 0.5 * rng.normal(size=(3, 5, GRID.n))).reshape(-1, GRID.n)
        bound = ratio_bound_bootstrap_residuals(scores, design, 20, GRID, rng, draws=200)
        ratios.append(bound.ratio)
        reaches.append(bound.ratio - bound.lower)
    assert np.mean(reaches) / 1.782 == pytest.approx(np.std(ratios), rel=0.35)


def test_without_a_noise_ceiling_nothing_is_shared():
    noise, design = np.random.default_rng(3).normal(size=(10, GRID.n)), RunDesign(np.repeat([0, 1], 5))
    assert agreement_jackknife_runs(noise, design, 20).within.lower_bound() < 0
    assert ratio_bound_jackknife_runs(noise, design, 20).lower == -np.inf
    with pytest.raises(ValueError, match="at least two"):
        ratio_bound_jackknife_runs(noise, RunDesign(np.zeros(10, dtype=np.int64)), 20)


def test_shared_seeds_need_the_jackknife():
    design = RunDesign(np.repeat([0, 1, 2], 5), np.tile(np.arange(5), 3))
    with pytest.raises(ValueError, match="distinct seeds"):
        ratio_bound_bootstrap_residuals(np.zeros((15, GRID.n)), design, 20, GRID, np.random.default_rng(0))
