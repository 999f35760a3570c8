import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from layersig.analysis.multiplicity import holm, intersection_union


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_equals_statsmodels(values: list[float]):
    p = np.array(values)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-10)


def test_intersection_union_is_the_largest():
    assert intersection_union(np.array([0.01, 0.04, 0.02])) == 0.04
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(np.array([1.2]))
