import numpy as np
import pytest
import statsmodels.api as sm
from scipy import linalg, stats

from layersig.analysis.means import mean_clusters, mean_items, unit_shares, unit_values


def cr2(values: np.ndarray, weights: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Bell and McCaffrey's variance and degrees of freedom of a weighted mean, by their matrices.

    The working model is independent items whose variance is one over their weight.
    """
    n, x = values.size, np.ones((values.size, 1))
    w = np.diag(weights)
    bread = np.linalg.inv(x.T @ w @ x)
    hat = x @ bread @ x.T @ w
    residuals, target = np.eye(n) - hat, np.diag(1 / weights)
    rows = []
    for cluster in np.unique(clusters):
        own = clusters == cluster
        part = residuals[own]
        root = np.sqrt(target[np.ix_(own, own)])
        inner = root @ (part @ target @ part.T) @ root
        adjust = root @ np.real(linalg.fractional_matrix_power(inner, -0.5)) @ root
        rows.append((bread @ x[own].T @ w[np.ix_(own, own)] @ adjust @ part)[0])
    p = np.stack(rows)
    spread = p @ target @ p.T
    return float(((p @ values) ** 2).sum()), float(np.trace(spread) ** 2 / (spread**2).sum())


def test_plain_error_is_scipys():
    x = np.random.default_rng(0).normal(size=50)
    assert mean_items(x).se == pytest.approx(float(stats.sem(x)), abs=1e-12)
    assert mean_items(x).df == 49


@pytest.mark.parametrize("sizes", [(1, 2, 4, 8), (5, 5, 5, 5), (3, 3, 20), (1, 1, 1, 1, 1, 9)])
def test_clustered_error_is_the_bias_reduced_one(sizes: tuple[int, ...]):
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    x = np.random.default_rng(1).normal(size=clusters.size)
    variance, df = cr2(x, np.ones(x.size), clusters)
    found = mean_clusters(x, clusters)
    assert found.value == pytest.approx(x.mean())
    assert found.se == pytest.approx(variance**0.5)
    assert found.df == pytest.approx(df)


def test_items_of_unequal_weight_have_the_bias_reduced_error():
    rng = np.random.default_rng(2)
    x, weights = rng.normal(size=12), np.exp(rng.normal(size=12))
    variance, df = cr2(x, weights, np.arange(12))
    found = mean_items(unit_values(x, weights), unit_shares(weights))
    assert found.value == pytest.approx(float(np.average(x, weights=weights)))
    assert found.se == pytest.approx(variance**0.5)
    assert found.df == pytest.approx(df)
    assert found.df < 11


def test_clustered_error_nears_the_sandwich():
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 200, size=3000)
    x = rng.normal(size=3000) + rng.normal(size=200)[clusters]
    fit = sm.OLS(x, np.ones(3000)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False})
    assert mean_clusters(x, clusters).se == pytest.approx(float(fit.bse[0]), rel=0.01)


def test_clusters_of_one_change_nothing():
    x = np.random.default_rng(2).normal(size=30)
    assert mean_clusters(x, np.arange(30)).se == pytest.approx(mean_items(x).se, abs=1e-12)


@pytest.mark.parametrize("sizes", [(10, 20, 30), (2, 2), (50, 3, 3, 3)])
def test_fixed_strata_leave_their_own_differences_out(sizes: tuple[int, ...]):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    n = strata.size
    x = np.random.default_rng(3).normal(size=n) + 5 * strata
    groups = [x[strata == h] for h in range(len(sizes))]
    found = mean_items(unit_values(x, np.ones(n), strata=strata))
    assert found.value == pytest.approx(x.mean())
    assert found.se == pytest.approx(sum(g.size * g.var(ddof=1) for g in groups) ** 0.5 / n)
    assert found.se < mean_items(x).se


def test_strata_of_one_item_count_as_one():
    x, strata = np.array([1.0, 2.0, 3.0, 10.0, 20.0]), np.array([0, 0, 0, 1, 2])
    together = unit_values(x, np.ones(5), strata=np.array([0, 0, 0, 1, 1]))
    np.testing.assert_allclose(unit_values(x, np.ones(5), strata=strata), together)
    lone = unit_values(x[:4], np.ones(4), strata=strata[:4])
    np.testing.assert_allclose(lone, unit_values(x[:4], np.ones(4), strata=np.zeros(4, dtype=np.int64)))
    assert lone.mean() == pytest.approx(x[:4].mean())


def test_one_item_or_one_cluster_is_refused():
    with pytest.raises(ValueError, match="two items"):
        mean_items(np.array([1.0]))
    with pytest.raises(ValueError, match="two clusters"):
        mean_clusters(np.arange(5.0), np.zeros(5, dtype=np.int64))
