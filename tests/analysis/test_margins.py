import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from layersig.analysis.margins import (
    AsGoodAsAll,
    as_good_as_all,
    non_inferiority,
    superiority_by,
    tost,
)
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


MOVED, UNMOVED = Estimate(0.10, 0.01, 8), Estimate(0.015, 0.01, 8)
AS_GOOD, WORSE = Estimate(-0.001, 0.003, 8), Estimate(-0.02, 0.005, 8)


@pytest.mark.parametrize(
    ("gain", "arm", "random_p", "conclusion"),
    [
        (UNMOVED, AS_GOOD, 0.001, AsGoodAsAll.CANNOT_TELL),
        (MOVED, WORSE, 0.001, AsGoodAsAll.WORSE_OR_UNDECIDED),
        (MOVED, AS_GOOD, 0.2, AsGoodAsAll.AS_GOOD),
        (MOVED, AS_GOOD, 0.05, AsGoodAsAll.AS_GOOD_AND_SELECTIVE),
    ],
)
def test_sequence_stops_at_the_first_failure(gain, arm, random_p, conclusion):
    sequence = as_good_as_all(gain, arm, random_p, margin=0.01)
    assert sequence.conclusion is conclusion
    assert (sequence.not_worse is None) == (conclusion is AsGoodAsAll.CANNOT_TELL)
    assert (sequence.beats_random_p is None) == (
        conclusion in (AsGoodAsAll.CANNOT_TELL, AsGoodAsAll.WORSE_OR_UNDECIDED)
    )


def test_margins_are_positive():
    with pytest.raises(ValueError, match="positive"):
        tost(AS_GOOD, 0.0)
