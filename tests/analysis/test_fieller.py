import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layersig.analysis.fieller import SetShape, fieller_set
from layersig.analysis.results import Estimate


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(-3, 3), st.floats(2, 50))
def test_set_holds_exactly_the_ratios_that_the_t_test_keeps(seed: int, top: float, bottom: float, df: float):
    root = np.random.default_rng(seed).normal(size=(2, 2))
    covariance = root @ root.T
    found = fieller_set(top, bottom, covariance, df)
    for ratio in (-50.0, -2.0, -0.3, 0.0, 0.7, 1.0, 4.0, 60.0):
        contrast = np.array([1.0, -ratio])
        p = Estimate(top - ratio * bottom, float(np.sqrt(contrast @ covariance @ contrast)), df).p_value()
        if abs(p - 0.05) > 1e-6:
            assert found.contains(ratio) == (p > 0.05)


def test_shapes():
    identity = np.eye(2)
    assert fieller_set(5.0, 10.0, identity, np.inf).shape is SetShape.INTERVAL
    rays = fieller_set(5.0, 0.5, identity, np.inf)
    assert rays.shape is SetShape.TWO_RAYS
    assert not rays.contains(0.0)
    assert "unbounded" in str(rays)
    everything = fieller_set(0.1, 0.1, identity, np.inf)
    assert everything.shape is SetShape.EVERYTHING
    assert "no ratio" in str(everything)
    with pytest.raises(ValueError, match="2 x 2"):
        fieller_set(1, 1, np.eye(3), 5)
