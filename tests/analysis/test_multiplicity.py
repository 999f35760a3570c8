import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from layersig.analysis.multiplicity import benjamini_hochberg, holm, holm_in_sequence, intersection_union


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_p_values_equal_those_of_statsmodels(values: list[float]):
    p = np.array(values)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-10)
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_sequences_of_one_test_are_corrected_by_holms_method(values: list[float]):
    adjusted = holm_in_sequence([[p] for p in values])
    np.testing.assert_allclose([p for (p,) in adjusted], holm(np.array(values)), atol=1e-12)


def test_a_sequence_counts_until_its_last_test_rejects():
    # .01 * 3; then .012 * 3, since the first sequence is not done; then .02 * 2, and what is left over alone.
    assert holm_in_sequence([[0.01, 0.012], [0.02], [0.5]]) == [
        pytest.approx([0.03, 0.036]),
        pytest.approx([0.04]),
        [0.5],
    ]
    # A step is never reached before the one it follows, however small its own p.
    assert holm_in_sequence([[0.3, 0.001], [0.02]]) == [pytest.approx([0.3, 0.3]), pytest.approx([0.04])]


def test_one_true_hypothesis_behind_a_true_claim_is_rejected_no_more_often_than_alpha():
    """A claim whose first step holds, whose second does not, beside a null: any false rejection stays below 5 %."""
    rng = np.random.default_rng(5)
    false = 0
    for null, last in rng.uniform(size=(4000, 2)):
        (_, second), (other,) = holm_in_sequence([[0.0, last], [null]])
        false += second <= 0.05 or other <= 0.05
    assert false / 4000 <= 0.055


def test_benjamini_hochberg_by_hand():
    # m p / rank: 0.05, 0.06, 0.05, 0.3; from the largest down never above what follows.
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.03, 0.0375, 0.0125, 0.3])), [0.05, 0.05, 0.05, 0.3])


def test_intersection_union_is_the_largest():
    assert intersection_union(np.array([0.01, 0.04, 0.02])) == 0.04
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(np.array([1.2]))
