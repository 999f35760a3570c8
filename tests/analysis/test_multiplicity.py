import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from layersig.analysis.multiplicity import (
    benjamini_hochberg,
    benjamini_yekutieli,
    holm,
    intersection_union,
    max_t_sign_flip_items,
)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjustments_equal_statsmodels(values: list[float]):
    p = np.array(values)
    for ours, method in ((holm, "holm"), (benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by")):
        np.testing.assert_allclose(ours(p), multipletests(p, method=method)[1], atol=1e-10)


def test_intersection_union_is_the_largest():
    assert intersection_union(np.array([0.01, 0.04, 0.02])) == 0.04
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(np.array([1.2]))


def test_max_t_of_one_contrast_is_the_sign_flip_test_of_t():
    d = np.array([[0.3, -0.1, 0.6, 0.7, 0.2, 0.4, -0.05, 0.3]])
    signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    flipped = np.abs(stats.ttest_1samp(signs * d, 0, axis=1).statistic)
    exact = (flipped >= abs(stats.ttest_1samp(d[0], 0).statistic) - 1e-9).mean()
    assert max_t_sign_flip_items(d, np.random.default_rng(0), draws=20_000)[0] == pytest.approx(exact, abs=0.01)


def test_max_t_adjusts_upwards_and_finds_the_effect():
    rng = np.random.default_rng(1)
    layers = rng.normal(size=(20, 100)) + rng.normal(size=100)
    layers[7] += 1.0
    adjusted = max_t_sign_flip_items(layers, rng, draws=999)
    single = np.array([max_t_sign_flip_items(layer[None], rng, draws=999)[0] for layer in layers])
    assert adjusted.argmin() == 7
    assert adjusted[7] < 0.05
    assert np.all(adjusted >= single - 0.05)


def test_constant_contrasts_are_not_found():
    layers = np.zeros((2, 10))
    layers[1] = 1.0
    adjusted = max_t_sign_flip_items(layers, np.random.default_rng(0), draws=999)
    assert adjusted[0] == 1.0
    assert adjusted[1] < 0.02
