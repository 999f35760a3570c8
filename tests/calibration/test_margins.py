import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from layersig.analysis.results import Estimate
from tests.calibration.margins import (
    non_inferiority,
    superiority_by,
    tost,
)


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
