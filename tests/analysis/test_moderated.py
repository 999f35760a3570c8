import numpy as np
import pytest
from scipy import stats

from layersig.analysis.moderated import moderated_variances


@pytest.mark.parametrize(("prior_df", "scale"), [(6.0, 2.0), (12.0, 0.5)])
def test_the_prior_is_recovered_and_each_variance_drawn_towards_it(prior_df: float, scale: float):
    rng = np.random.default_rng(0)
    true = scale * prior_df / rng.chisquare(prior_df, size=20_000)
    sample = true * rng.chisquare(4, size=true.size) / 4
    found = moderated_variances(sample, 4)
    assert found.df == pytest.approx(4 + prior_df / 2, rel=0.1)
    expected = (prior_df * scale + 4 * sample) / (prior_df + 4)
    assert found.variances == pytest.approx(expected, rel=0.15)


def test_equal_variances_are_pooled():
    sample = 3.0 * np.random.default_rng(1).chisquare(9, size=4000) / 9
    found = moderated_variances(sample, 9)
    assert found.df > 60
    assert np.ptp(found.variances) < 0.1 * np.ptp(sample)
    assert found.variances.mean() == pytest.approx(3.0, rel=0.05)


def test_variances_that_spread_less_than_chance_are_all_the_same():
    found = moderated_variances(np.full(50, 2.0), 4)
    assert found.df == float("inf")
    assert np.ptp(found.variances) == 0


def test_no_variance_at_all_stays_none_and_a_single_0_is_drawn_up():
    assert moderated_variances(np.zeros(5), 4).variances.tolist() == [0.0] * 5
    mixed = np.append(np.random.default_rng(2).chisquare(4, size=500) / 4, 0.0)
    assert moderated_variances(mixed, 4).variances[-1] > 0.01


@pytest.mark.parametrize("zeros", [1, 500, 5000])
def test_the_prior_is_that_of_variances_above_0_and_stands_in_for_the_others(zeros: int):
    sample = np.random.default_rng(4).chisquare(4, size=500) / 4 * 6 / np.random.default_rng(5).chisquare(6, size=500)
    alone, mixed = moderated_variances(sample, 4), moderated_variances(np.append(sample, np.zeros(zeros)), 4)
    assert mixed.df == pytest.approx(alone.df)
    assert mixed.variances[:500] == pytest.approx(alone.variances)
    half = mixed.df - 4
    prior = (alone.variances[0] * (2 * half + 4) - 4 * sample[0]) / (2 * half)
    assert mixed.variances[500:] == pytest.approx(2 * half * prior / (2 * half + 4))


def test_the_moderated_t_keeps_its_level_where_variances_differ():
    rng = np.random.default_rng(3)
    sd = np.sqrt(6 / rng.chisquare(6, size=4000))
    values = sd * rng.normal(size=(5, 4000))
    found = moderated_variances(values.var(axis=0, ddof=1), 4)
    p = 2 * stats.t.sf(np.abs(values.mean(axis=0)) / np.sqrt(found.variances / 5), found.df)
    assert 0.03 < np.mean(p <= 0.05) < 0.06
