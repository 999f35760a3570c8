import numpy as np
import pytest
from scipy import stats

from layersig.analysis.attenuation import disattenuated_correlation, spearman_brown


def _cells(rng: np.random.Generator, correlation: float, noise: float, runs: int = 6, n: int = 400):
    a = rng.normal(size=n)
    b = correlation * a + (1 - correlation**2) ** 0.5 * rng.normal(size=n)
    return (x + noise * rng.normal(size=(runs, n)) for x in (a, b))


def test_correction_recovers_the_noise_free_correlation():
    a, b = _cells(np.random.default_rng(0), 0.8, 1.0)
    result = disattenuated_correlation(a, b)
    assert result.r_ab == pytest.approx(np.mean([stats.spearmanr(x, y).statistic for x in a for y in b]), abs=1e-12)
    assert result.r_ab < 0.5
    assert result.corrected is not None
    assert result.corrected.ratio == pytest.approx(result.r_ab / (result.reliability_a * result.reliability_b) ** 0.5)
    assert result.corrected.contains(0.8)


def test_correction_is_not_clipped_at_one():
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(10):
        a, b = _cells(rng, 1.0, 1.0, runs=3, n=60)
        corrected = disattenuated_correlation(a, b).corrected
        ratios.append(corrected.ratio if corrected is not None else 0)
    assert max(ratios) > 1


def test_low_reliability_is_refused():
    a, b = _cells(np.random.default_rng(2), 0.8, 3.0)
    result = disattenuated_correlation(a, b)
    assert min(result.reliability_a, result.reliability_b) < 0.3
    assert result.corrected is None
    with pytest.raises(ValueError, match="runs >= 3"):
        disattenuated_correlation(np.zeros((2, 5)), np.zeros((3, 5)))


def test_spearman_brown_of_the_trial():
    assert spearman_brown(0.36, 3) == pytest.approx(0.63, abs=0.005)
    assert spearman_brown(0.36, 1) == pytest.approx(0.36)


def test_noise_that_two_scorers_share_in_a_seed_is_no_agreement():
    rng, seeds = np.random.default_rng(3), np.tile(np.arange(5), 2)
    shared = rng.normal(size=(5, 400))
    a, b = (cell + shared for cell in _cells(rng, 0.0, 0.0, runs=5))
    naive, result = disattenuated_correlation(a, b), disattenuated_correlation(a, b, seeds=seeds)
    unlike = [stats.spearmanr(x, y).statistic for i, x in enumerate(a) for j, y in enumerate(b) if i != j]
    assert result.r_ab == pytest.approx(np.mean(unlike), abs=1e-12)
    assert (naive.reliability_a, naive.reliability_b) == (result.reliability_a, result.reliability_b)
    assert naive.corrected is not None
    assert result.corrected is not None
    assert naive.corrected.ratio > 0.15
    assert result.corrected.contains(0.0)


def test_a_constant_ranking_has_no_reliability():
    result = disattenuated_correlation(np.zeros((3, 20)), np.random.default_rng(4).normal(size=(3, 20)))
    assert result.corrected is None
    assert np.isnan(result.reliability_a)
