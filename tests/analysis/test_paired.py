from itertools import product

import numpy as np
import pytest
from scipy import optimize, special, stats
from statsmodels.stats.contingency_tables import mcnemar

from layersig.analysis.paired import PairedShares, mcnemar_items, sign_flip_test
from layersig.analysis.results import Alternative
from tests.calibration.margins import non_inferiority


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


def constrained_score(wins: int, losses: int, n: int, null: float) -> float:
    """Tango's statistic, its nuisance found by maximising the likelihood numerically."""

    def minus_log_likelihood(q: float) -> float:
        rest = special.xlogy(n - wins - losses, 1 - 2 * q - null)
        return -float(special.xlogy(wins, q + null) + special.xlogy(losses, q) + rest)

    low, high = max(0.0, -null), (1 - null) / 2
    q = optimize.minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return float((wins - losses - n * null) / (n * (2 * q + null * (1 - null))) ** 0.5)


@pytest.mark.parametrize(("wins", "losses", "n"), [(10, 3, 100), (1, 0, 44), (0, 5, 40), (20, 20, 60), (7, 1, 12)])
@pytest.mark.parametrize("null", [-0.3, -0.05, 0.01, 0.2])
def test_the_score_is_tangos(wins: int, losses: int, n: int, null: float) -> None:
    ours = PairedShares(wins, losses, n).score(null, correction=0)
    assert ours == pytest.approx(constrained_score(wins, losses, n, null), abs=1e-4)


@pytest.mark.parametrize(
    "counts", [(10, 3, 100), (0, 0, 40), (0, 1, 40), (5, 0, 40), (40, 0, 40), (3, 3, 6), (1, 0, 2)]
)
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_interval_inverts_the_score_test(counts: tuple[int, int, int], level: float) -> None:
    found = PairedShares(*counts)
    interval, z = found.interval(level), stats.norm.ppf((1 + level) / 2)
    assert -1 <= interval.low < interval.high <= 1
    assert interval.contains(found.value)
    for end in (interval.low, interval.high):
        if abs(end) < 1 and end != 0:
            assert abs(found.score(end)) == pytest.approx(z, abs=1e-6)
    mirror = found.mirrored().interval(level)
    assert (mirror.low, mirror.high) == pytest.approx((-interval.high, -interval.low), abs=1e-9)
    if found.p_value() > 1 - level:
        assert interval.contains(0.0)


def test_items_that_never_differ_exclude_what_they_can() -> None:
    """The uncorrected limit of Tango's interval for no discordant pair is z^2 / (n + z^2)."""
    z2 = stats.norm.ppf(0.975) ** 2
    assert PairedShares(0, 0, 40).score(z2 / (40 + z2), correction=0) == pytest.approx(-(z2**0.5))
    assert PairedShares(0, 0, 40).interval().high > z2 / (40 + z2)


@pytest.mark.parametrize(("n", "margin"), [(40, 0.02), (100, 0.01), (40, 0.05), (100, 0.1), (12, 0.1)])
def test_claims_against_a_margin_err_at_most_as_often_as_they_may(n: int, margin: float) -> None:
    """Exact, at a true loss of the margin."""
    for extra in (0.0, 0.03):
        wins, losses = extra / 2, extra / 2 + margin
        wrong = sum(
            stats.multinomial.pmf([b, c, n - b - c], n, [wins, losses, 1 - wins - losses])
            for b in range(min(n, 12))
            for c in range(min(n - b, 40) + 1)
            if non_inferiority(PairedShares(b, c, n), margin).established
        )
        assert wrong <= 0.055


@pytest.mark.parametrize(("wins", "losses"), [(7, 2), (0, 4), (5, 5), (0, 0)])
def test_no_difference_is_tested_by_mcnemar(wins: int, losses: int) -> None:
    found = PairedShares(wins, losses, 30)
    for alternative in Alternative:
        exact = stats.binomtest(wins, wins + losses, 0.5, alternative.value).pvalue if wins + losses else 1.0
        assert found.p_value(alternative=alternative) == pytest.approx(exact)
