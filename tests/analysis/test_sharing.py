import numpy as np
import pytest

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.sharing import (
    RatioBound,
    SharingVerdict,
    ratio_bound_jackknife_runs,
    sharing_test,
)

N = 61


def _scores(rng: np.random.Generator, seeds: int, data_sd: float) -> np.ndarray:
    data = data_sd * rng.normal(size=(3, 1, N))
    return (rng.normal(size=N) + data + 0.5 * rng.normal(size=(3, seeds, N))).reshape(-1, N)


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


def test_without_a_noise_ceiling_nothing_is_shared():
    noise, design = np.random.default_rng(3).normal(size=(10, N)), RunDesign(np.repeat([0, 1], 5))
    assert agreement_jackknife_runs(noise, design, 20).within.lower_bound() < 0
    assert ratio_bound_jackknife_runs(noise, design, 20).lower == -np.inf
    with pytest.raises(ValueError, match="at least two"):
        ratio_bound_jackknife_runs(noise, RunDesign(np.zeros(10, dtype=np.int64)), 20)


SPARSE = np.where(np.random.default_rng(4).random((10, N)) < 0.8, 0.0, np.random.default_rng(5).random((10, N)))


@pytest.mark.parametrize("k", [18, 46])
@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (np.ones((10, N)), SharingVerdict.NO_CEILING),
        (np.zeros((10, N)), SharingVerdict.NO_CEILING),
        (SPARSE, SharingVerdict.NO_CEILING),
        (np.tile(np.arange(float(N)), (10, 1)), SharingVerdict.NO_NOISE),
        (np.tile(np.arange(N) % 2.0, (10, 1)), SharingVerdict.NO_NOISE),
    ],
)
def test_a_scorer_without_information_or_noise_gets_no_verdict(scores: np.ndarray, verdict: SharingVerdict, k: int):
    design = RunDesign(np.repeat([0, 1], 5), np.tile(np.arange(5), 2))
    test = sharing_test(ratio_bound_jackknife_runs(scores, design, k), design)
    assert test.verdict is verdict


def test_two_seeds_give_a_ratio_and_no_bound():
    scores, design = _scores(np.random.default_rng(6), 2, 0.3)[:4], RunDesign(np.repeat([0, 1], 2), np.tile([0, 1], 2))
    bound = ratio_bound_jackknife_runs(scores, design, 20)
    assert bound.ratio > 0
    assert np.isnan(bound.lower)
    assert sharing_test(bound, design).verdict is SharingVerdict.TOO_FEW_SEEDS
