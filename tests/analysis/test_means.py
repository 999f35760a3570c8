import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from layersig.analysis.means import mean_clusters, mean_items, mean_strata, wilson_interval


def test_plain_error_is_scipys():
    x = np.random.default_rng(0).normal(size=50)
    assert mean_items(x).se == pytest.approx(float(stats.sem(x)), abs=1e-12)
    assert mean_items(x).df == 49


def test_clustered_error_equals_the_double_sum_and_nears_the_sandwich():
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 40, size=300)
    x = rng.normal(size=300) + rng.normal(size=40)[clusters]
    centred = x - x.mean()
    cross = sum(
        centred[i] * centred[j] for i in range(300) for j in range(300) if i != j and clusters[i] == clusters[j]
    )
    estimate = mean_clusters(x, clusters)
    assert estimate.se == pytest.approx((stats.sem(x) ** 2 + cross / 300**2) ** 0.5, abs=1e-12)
    assert estimate.df == np.unique(clusters).size - 1
    fit = sm.OLS(x, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False})
    assert estimate.se == pytest.approx(float(fit.bse[0]), rel=0.01)


def test_clusters_of_one_change_nothing():
    x = np.random.default_rng(2).normal(size=30)
    assert mean_clusters(x, np.arange(30)).se == pytest.approx(mean_items(x).se, abs=1e-12)


def test_strata_are_averaged_without_weights():
    rng = np.random.default_rng(3)
    x, strata = rng.normal(size=60), np.repeat([0, 1, 2], [10, 20, 30])
    groups = [x[strata == s] for s in range(3)]
    estimate = mean_strata(x, strata)
    assert estimate.value == pytest.approx(np.mean([g.mean() for g in groups]))
    assert estimate.se == pytest.approx(sum(g.var(ddof=1) / g.size for g in groups) ** 0.5 / 3, abs=1e-12)
    two = mean_strata(np.concatenate([groups[0], -groups[1]]), np.repeat([0, 1], [10, 20]))
    welch = stats.ttest_ind(groups[0], groups[1], equal_var=False)
    assert two.df == pytest.approx(welch.df)
    assert two.p_value() == pytest.approx(welch.pvalue, abs=1e-10)


def test_wilson_equals_statsmodels():
    interval = wilson_interval(7, 30, 0.9)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(7, 30, 0.1, "wilson"), abs=1e-10)


def test_one_item_or_one_cluster_is_refused():
    with pytest.raises(ValueError, match="two items"):
        mean_items(np.array([1.0]))
    with pytest.raises(ValueError, match="two clusters"):
        mean_clusters(np.arange(5.0), np.zeros(5, dtype=np.int64))
