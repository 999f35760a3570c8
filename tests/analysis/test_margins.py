import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from layersig.analysis.margins import (
    least_items_of_shares,
    least_se_of_shares,
    non_inferiority,
    superiority_by,
    tost,
)
from layersig.analysis.means import mean_items
from layersig.analysis.results import Estimate


def test_tost_equals_statsmodels():
    x = np.random.default_rng(0).normal(0.1, 1, size=40)
    estimate = Estimate(float(x.mean()), float(x.std(ddof=1) / 40**0.5), 39)
    assert tost(estimate, 0.5).p == pytest.approx(DescrStatsW(x).ttost_mean(-0.5, 0.5)[0], abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(st.floats(-3, 3), st.floats(0.01, 2), st.floats(1, 100), st.floats(0.05, 3))
def test_tests_are_intervals(value: float, se: float, df: float, margin: float):
    estimate = Estimate(value, se, df)
    inner = estimate.interval(0.90)
    if min(abs(inner.low + margin), abs(inner.high - margin), abs(inner.low - margin)) > 1e-6:
        assert tost(estimate, margin).established == (-margin < inner.low and inner.high < margin)
        assert non_inferiority(estimate, margin).established == (inner.low > -margin)
        assert superiority_by(estimate, margin).established == (inner.low > margin)


def test_margins_are_positive():
    with pytest.raises(ValueError, match="positive"):
        tost(Estimate(-0.001, 0.003, 8), 0.0)


@pytest.mark.parametrize("items", [12, 100, 290, 1000])
def test_rare_differences_of_right_or_wrong_items_seldom_pass_for_none(items: int):
    """A share `margin` of the items is lost: the plain t test finds equivalence wherever a sample misses them."""
    rng, margin = np.random.default_rng(5), 0.01
    samples = -(rng.random((4000, items)) < margin).astype(float)
    estimates = [mean_items(values) for values in np.unique(samples, axis=0)]
    weights = np.unique(samples, axis=0, return_counts=True)[1] / 4000
    plain = sum(w for w, e in zip(weights, estimates, strict=True) if non_inferiority(e, margin).established)
    least = least_se_of_shares(margin, items)
    held = sum(
        w
        for w, e in zip(weights, estimates, strict=True)
        if non_inferiority(e.with_least_se(least), margin).established
    )
    assert held <= 0.07
    assert plain > 0.3 or items > 100


def test_items_that_never_differ_exclude_a_margin_once_there_are_enough():
    least = least_items_of_shares(0.01, float("inf"))
    assert least == 268  # the exact test wants 0.99 ** n < 0.05: 299
    for items, established in ((least + 1, True), (least - 1, False)):
        estimate = Estimate(0.0, 0.0, float("inf")).with_least_se(least_se_of_shares(0.01, items))
        assert tost(estimate, 0.01).established is established
    assert least_se_of_shares(1.5, 10) == 0
