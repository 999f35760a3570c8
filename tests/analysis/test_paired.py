from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from layersig.analysis.paired import mcnemar_items, sign_flip_test
from layersig.analysis.results import Alternative


def _outcomes(both: int, only_a: int, only_b: int, neither: int):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@pytest.mark.parametrize(("only_a", "only_b"), [(9, 2), (3, 3), (0, 6), (1, 0), (0, 0)])
def test_mcnemar_equals_statsmodels(only_a: int, only_b: int):
    test = mcnemar_items(*_outcomes(5, only_a, only_b, 4))
    assert (test.only_a, test.only_b) == (only_a, only_b)
    if only_a + only_b:
        assert test.p == pytest.approx(min(1.0, mcnemar([[5, only_a], [only_b, 4]], exact=True).pvalue), abs=1e-12)
    else:
        assert test.p == 1.0
    assert test.mid_p <= test.p


def test_mid_p_takes_half_of_the_observed_outcome():
    test = mcnemar_items(*_outcomes(0, 9, 2, 0))
    assert test.mid_p == pytest.approx(2 * (stats.binom.cdf(1, 11, 0.5) + 0.5 * stats.binom.pmf(2, 11, 0.5)), abs=1e-12)


@pytest.mark.parametrize("alternative", list(Alternative))
def test_sign_flip_equals_enumeration_and_scipy(alternative: Alternative):
    d = np.array([0.3, -0.1, 0.0, 0.7, 0.2, 0.4, -0.05])
    test = sign_flip_test(d, np.random.default_rng(0), alternative=alternative)
    reference = stats.permutation_test(
        (d,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", alternative=alternative.value,
        vectorized=True, n_resamples=np.inf,
    )  # fmt: skip
    assert test.p == pytest.approx(reference.pvalue, abs=1e-12)
    sums = [np.dot(signs, d) for signs in product([-1, 1], repeat=d.size)]
    if alternative is Alternative.TWO_SIDED:
        assert test.p == pytest.approx(np.mean(np.abs(sums) >= abs(d.sum()) - 1e-12), abs=1e-12)
    assert test.resamples is None


@pytest.mark.parametrize(("seeds", "smallest"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_few_seeds_have_a_smallest_p(seeds: int, smallest: float):
    assert sign_flip_test(np.linspace(1, 2, seeds), np.random.default_rng(0)).p == pytest.approx(smallest)


def test_sign_flip_of_binary_items_is_mcnemar():
    a, b = _outcomes(3, 9, 3, 3)
    test = sign_flip_test(a.astype(float) - b.astype(float), np.random.default_rng(0))
    assert test.p == pytest.approx(mcnemar_items(a, b).p, abs=1e-12)


def test_monte_carlo_agrees_with_the_binomial_and_never_reaches_zero():
    rng = np.random.default_rng(1)
    a, b = _outcomes(3, 30, 18, 3)
    test = sign_flip_test(a.astype(float) - b.astype(float), rng, draws=20_000)
    assert test.p == pytest.approx(mcnemar_items(a, b).p, abs=0.01)
    assert sign_flip_test(np.ones(40), rng, draws=99).p == pytest.approx(2.0**-39)


def test_no_difference_gives_one():
    assert sign_flip_test(np.zeros(4), np.random.default_rng(0)).p == 1.0
    with pytest.raises(ValueError, match="boolean"):
        mcnemar_items(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("alternative", list(Alternative))
@pytest.mark.parametrize("shape", ["normal", "heavy", "equal", "one large"])
def test_below_the_floor_of_the_draws_stands_a_bound_of_the_exact_p(alternative: Alternative, shape: str):
    rng = np.random.default_rng(4)
    d = {
        "normal": rng.normal(1.4, 1, size=19),
        "heavy": np.abs(rng.standard_t(2, size=19)),
        "equal": np.ones(19),
        "one large": np.append(np.full(18, 0.1), 4.0),
    }[shape]
    d = -d if alternative is Alternative.LESS else d
    sums = (1 - 2 * ((np.arange(2**19)[:, None] >> np.arange(19)) & 1)) @ d
    tails = {
        Alternative.GREATER: sums >= d.sum() - 1e-9,
        Alternative.LESS: sums <= d.sum() + 1e-9,
        Alternative.TWO_SIDED: np.abs(sums) >= abs(d.sum()) - 1e-9,
    }
    exact, found = tails[alternative].mean(), sign_flip_test(d, rng, draws=999, alternative=alternative)
    assert found.p >= exact * (1 - 1e-9) or found.resamples == 999
    assert (found.resamples is None) == (found.p < 1 / 1000)
    assert shape != "equal" or found.p < 1 / 1000


def test_a_clear_effect_survives_the_correction_for_five_hundred_tests():
    d = np.random.default_rng(5).normal(1.0, 1.0, size=60)
    assert 500 * sign_flip_test(d, np.random.default_rng(0)).p < 0.05
