import numpy as np
import pytest
from scipy import stats

from layersig.analysis.rankcorr import normal_scores, pairwise_correlation, pairwise_spearman, spearman


def test_correlations_equal_scipy_with_ties():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 5, size=(2, 40)).astype(float)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert pairwise_spearman(np.stack([a, b, a]))[0, 2] == pytest.approx(1.0)
    expected = stats.pearsonr(*(stats.norm.ppf((stats.rankdata(x) - 0.5) / 40) for x in (a, b))).statistic
    assert pairwise_correlation(np.stack([a, b]))[0, 1] == pytest.approx(expected, abs=1e-12)


def test_normal_scores_see_ranks_alone_and_keep_ties():
    a = np.random.default_rng(2).normal(size=30)
    np.testing.assert_array_equal(normal_scores(a), normal_scores(np.exp(9 * a)))
    np.testing.assert_array_equal(normal_scores(np.full(7, 0.1)), np.zeros(7))
    assert np.isnan(pairwise_correlation(np.stack([a, np.zeros(30)]))[0, 1])
