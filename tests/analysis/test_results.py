import numpy as np
import pytest
from scipy import stats

from layersig.analysis.results import Alternative, Estimate, monte_carlo_p


def test_interval_and_p_value_equal_scipy_t_test():
    x = np.random.default_rng(0).normal(0.3, 1, size=12)
    estimate = Estimate(float(x.mean()), float(x.std(ddof=1) / 12**0.5), 11)
    for alternative in Alternative:
        reference = stats.ttest_1samp(x, 0.1, alternative=alternative.value)
        assert estimate.p_value(0.1, alternative) == pytest.approx(reference.pvalue, abs=1e-12)
    reference_interval = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    interval = estimate.interval(0.9)
    assert (interval.low, interval.high) == pytest.approx(tuple(reference_interval), abs=1e-12)
    assert estimate.lower_bound(0.95) == pytest.approx(interval.low, abs=1e-12)
    assert estimate.upper_bound(0.95) == pytest.approx(interval.high, abs=1e-12)
    assert interval.contains(estimate.value)


def test_an_error_of_0_is_evidence_of_nothing():
    assert Estimate(0.0, 0.0, 4).p_value() == 1.0
    assert Estimate(0.2, 0.0, 4).p_value() == 1.0
    assert Estimate(-0.2, 0.0, 4).p_value(alternative=Alternative.GREATER) == 1.0


def test_monte_carlo_p_never_reaches_zero():
    null = np.arange(19.0)
    assert monte_carlo_p(100.0, null).p == pytest.approx(1 / 20)
    assert monte_carlo_p(18.0, null).p == pytest.approx(2 / 20)
    assert monte_carlo_p(-1.0, null, Alternative.LESS).p == pytest.approx(1 / 20)
    assert monte_carlo_p(100.0, null, Alternative.TWO_SIDED).p == pytest.approx(2 / 20)
    with pytest.raises(ValueError, match="non-empty"):
        monte_carlo_p(1.0, np.array([]))
