import numpy as np
import pytest
from scipy import stats

from layersig.analysis.rankcorr import kendall_tau_b, pairwise_spearman, rbo, rbo_prefix_weight, spearman


@pytest.mark.parametrize(("p", "depth", "weight"), [(0.9, 10, 0.8556), (0.98, 50, 0.8522)])
def test_prefix_weight_of_the_paper(p: float, depth: int, weight: float):
    assert rbo_prefix_weight(p, depth) == pytest.approx(weight, abs=5e-5)


def test_rbo_equals_its_definition_summed_directly():
    a, b = np.random.default_rng(0).normal(size=(2, 12))
    first, second = np.argsort(-a), np.argsort(-b)
    agreement = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, 13)]
    # An infinite list that goes on agreeing as far as it does at full depth.
    expected = 0.1 * sum(0.9 ** (d - 1) * agreement[min(d, 12) - 1] for d in range(1, 2000))
    assert rbo(a, b, 0.9) == pytest.approx(expected, abs=1e-12)


def test_rbo_ends():
    a = np.arange(30.0)
    assert rbo(a, a) == pytest.approx(1.0, abs=1e-12)
    assert rbo(a, -a, 0.9) < 0.25
    with pytest.raises(ValueError, match="persistence"):
        rbo(a, a, 1.0)


def test_correlations_equal_scipy_with_ties():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 5, size=(2, 40)).astype(float)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    concordant = np.sign(np.subtract.outer(a, a) * np.subtract.outer(b, b))[np.triu_indices(40, 1)]
    ties_a, ties_b = ((np.subtract.outer(x, x)[np.triu_indices(40, 1)] != 0).sum() for x in (a, b))
    assert kendall_tau_b(a, b) == pytest.approx(concordant.sum() / np.sqrt(float(ties_a) * float(ties_b)), abs=1e-12)
    assert pairwise_spearman(np.stack([a, b, a]))[0, 2] == pytest.approx(1.0)
