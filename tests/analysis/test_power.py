import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from layersig.analysis.equivalence import (
    items_for_equivalence,
    items_for_equivalence_discordant,
    power_tost,
    seeds_for_equivalence,
)
from layersig.analysis.paired import PairedShares
from layersig.analysis.power import (
    detectable_difference,
    detectable_difference_discordant,
    detectable_of,
    detectable_two_way,
    discordance_limit,
    power_discordant,
    power_t,
    power_two_way,
    sd_upper_limit,
)
from layersig.analysis.results import Alternative, Estimate
from layersig.analysis.twoway import MeanSquares
from tests.calibration.margins import tost


@pytest.mark.parametrize("seeds", [3, 5, 8, 30])
def test_power_equals_statsmodels(seeds: int):
    reference = TTestPower()
    assert power_t(0.9, 1.0, seeds) == pytest.approx(reference.power(0.9, seeds, 0.05), abs=1e-8)
    one_sided = reference.power(0.9, seeds, 0.05, alternative="larger")
    assert power_t(1.8, 2.0, seeds, alternative=Alternative.GREATER) == pytest.approx(one_sided, abs=1e-8)
    assert power_t(-1.8, 2.0, seeds, alternative=Alternative.LESS) == pytest.approx(one_sided, abs=1e-8)


@pytest.mark.parametrize(("seeds", "sds"), [(3, 3.26), (5, 1.68), (8, 1.16), (10, 0.996)])
def test_detectable_differences(seeds: int, sds: float):
    assert detectable_difference(1.0, seeds) == pytest.approx(sds, abs=0.005)
    assert power_t(detectable_difference(2.0, seeds), 2.0, seeds) == pytest.approx(0.8, abs=1e-8)


def exact_power(wins: float, losses: float, n: int) -> float:
    """Power of McNemar's exact test by enumeration of every table of counts."""
    total = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            if b + c and stats.binomtest(b, b + c).pvalue <= 0.05:
                total += stats.multinomial.pmf([b, c, n - b - c], n, [wins, losses, 1 - wins - losses])
    return total


@pytest.mark.parametrize(("difference", "discordance"), [(0.1, 0.1), (0.0, 0.3), (0.2, 0.5), (0.3, 0.3)])
def test_power_of_mcnemar_equals_enumeration(difference: float, discordance: float):
    wins = (discordance + difference) / 2
    assert power_discordant(difference, discordance, 24) == pytest.approx(
        exact_power(wins, discordance - wins, 24), abs=1e-8
    )


@pytest.mark.parametrize(("discordant", "items"), [(0, 40), (4, 40), (1, 100), (30, 300), (2000, 14_042), (40, 40)])
def test_a_detectable_difference_is_possible_and_is_detected(discordant: int, items: int):
    found = detectable_difference_discordant(discordant, items)
    assert found is not None
    limit = discordance_limit(discordant, items)
    assert stats.binom.cdf(discordant, items, limit) == pytest.approx(0.2 if discordant < items else 1.0, abs=1e-6)
    assert power_discordant(found, max(found, limit), items) == pytest.approx(0.8, abs=0.01)


def test_too_few_items_detect_no_difference():
    assert detectable_difference_discordant(0, 5) is None
    assert detectable_difference_discordant(5, 5) is None
    assert detectable_difference_discordant(0, 6) is not None


@pytest.mark.parametrize(("seeds", "power"), [(3, 0.56), (5, 0.95)])
def test_power_of_tost_at_half_the_margin(seeds: int, power: float):
    assert power_tost(0.0, 0.5, seeds, 1.0) == pytest.approx(power, abs=0.005)


def test_power_of_tost_equals_simulation():
    rng = np.random.default_rng(0)
    x = rng.normal(0.2, 0.6, size=(200_000, 6))
    reach = 2.015048 * x.std(axis=1, ddof=1) / 6**0.5
    share = (np.abs(x.mean(axis=1)) + reach < 1.0).mean()
    assert power_tost(0.2, 0.6, 6, 1.0) == pytest.approx(share, abs=0.004)


def test_pilot_limit_covers_the_true_sd_four_times_in_five():
    sds = np.random.default_rng(1).normal(size=(20_000, 4)).std(axis=1, ddof=1)
    assert (sd_upper_limit(1.0, 3) * sds > 1).mean() == pytest.approx(0.8, abs=0.01)


def test_two_way_power_is_the_t_test_when_items_do_not_matter():
    assert power_two_way(1.68, (1.0, 0.0, 1e-9), 5, 10_000) == pytest.approx(power_t(1.68, 1.0, 5), abs=1e-4)
    assert power_two_way(detectable_two_way((0.1, 0.2, 1.0), 5, 200), (0.1, 0.2, 1.0), 5, 200) == pytest.approx(
        0.8, abs=1e-8
    )


def test_a_detectable_difference_takes_the_upper_limit_of_the_error():
    estimate = Estimate(0.0, 0.1, 2)
    limit = 0.1 * (2 / stats.chi2.ppf(0.2, 2)) ** 0.5
    assert detectable_of(estimate) == pytest.approx(detectable_difference(limit * 3**0.5, 3))
    assert detectable_of(Estimate(0.0, 0.1, float("inf"))) == pytest.approx(0.280, abs=0.001)


@pytest.mark.parametrize("margin", [0.01, 0.05])
def test_items_for_equivalence_reach_80_percent(margin: float):
    estimate = Estimate(0.0, 0.01, 499)
    items = items_for_equivalence(estimate, 500, margin)
    assert items is not None
    sd = sd_upper_limit(0.01, 499) * 500**0.5
    assert power_tost(0.0, sd, items, margin) >= 0.8 > power_tost(0.0, sd, items - 1, margin)
    # The interval's half-width at the margin finds equal arms equivalent in a quarter of studies only.
    assert power_tost(0.0, sd, round((1.96 * sd / margin) ** 2), margin) < 0.3


@pytest.mark.parametrize(("discordant", "items", "margin"), [(2, 40, 0.1), (0, 40, 0.05), (10, 200, 0.05)])
def test_right_or_wrong_items_for_equivalence_reach_80_percent(discordant: int, items: int, margin: float):
    n = items_for_equivalence_discordant(discordant, items, margin)
    assert n is not None
    law = stats.binom(n, discordance_limit(discordant, items))
    rng = np.random.default_rng(4)
    differing, counts = np.unique(law.rvs(size=3000, random_state=rng), return_counts=True)
    found = 0
    for m, count in zip(differing.tolist(), counts.tolist(), strict=True):
        for wins, times in zip(*np.unique(rng.binomial(m, 0.5, count), return_counts=True), strict=True):
            found += int(times) * tost(PairedShares(int(wins), m - int(wins), n), margin).established
    assert found / 3000 == pytest.approx(0.8, abs=0.04)


def test_seeds_for_equivalence_reach_80_percent_or_say_that_items_limit():
    ms = MeanSquares(5, 1000, 0.0, 0.25 + 1000 * 0.0001, 0.25, 0.25)
    seeds = seeds_for_equivalence(ms, 0.02)
    assert seeds is not None
    assert seeds > 5
    assert (seeds_for_equivalence(ms, 0.015) or 0) > seeds
    stubborn = MeanSquares(3, 100, 0.0, 0.25, 0.25 + 3 * 0.5, 0.25)
    assert seeds_for_equivalence(stubborn, 0.05) is None
