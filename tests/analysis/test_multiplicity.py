import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from layersig.analysis.multiplicity import benjamini_hochberg, holm, intersection_union


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_p_values_equal_those_of_statsmodels(values: list[float]):
    p = np.array(values)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-10)
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-10)


def test_benjamini_hochberg_by_hand():
    # m p / rank: 0.05, 0.06, 0.05, 0.3; from the largest down never above what follows.
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.03, 0.0375, 0.0125, 0.3])), [0.05, 0.05, 0.05, 0.3])


def test_intersection_union_is_the_largest():
    assert intersection_union(np.array([0.01, 0.04, 0.02])) == 0.04
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(np.array([1.2]))
