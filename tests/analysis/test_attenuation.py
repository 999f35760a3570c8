import numpy as np
import pytest
from scipy import stats

from layersig.analysis.agreement import RunDesign
from layersig.analysis.attenuation import corrected_between, disattenuated_correlation
from layersig.analysis.results import Alternative


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


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("noise", [(0.4, 1.0), (0.5, 0.5), (0.3, 0.6)])
def test_cells_that_differ_in_noise_alone_are_not_found_to_differ(crossed: bool, noise: tuple[float, float]):
    rng = np.random.default_rng(5)
    cells, seeds = np.repeat([0, 1], 5), np.tile(np.arange(5), 2)
    design = RunDesign(cells, seeds if crossed else None)
    sd = np.array(noise)[cells, None]
    found = [corrected_between(rng.normal(size=200) + sd * rng.normal(size=(10, 200)), design) for _ in range(60)]
    assert np.mean([each.value for each in found if each]) == pytest.approx(1.0, abs=0.02)
    assert np.mean([each.p_value(1.0, Alternative.LESS) < 0.05 for each in found if each]) <= 0.1


def test_cells_that_differ_are_found_to_and_unreliable_ones_are_left_alone():
    rng = np.random.default_rng(6)
    design = RunDesign(np.repeat([0, 1], 5))
    own = np.repeat(rng.normal(size=(2, 200)), 5, axis=0)
    found = corrected_between(rng.normal(size=200) + 0.5 * own + 0.5 * rng.normal(size=(10, 200)), design)
    assert found is not None
    assert found.p_value(1.0, Alternative.LESS) < 0.001
    assert corrected_between(rng.normal(size=(10, 200)), design) is None
    assert corrected_between(np.ones((10, 200)), design) is None
