import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from layersig.analysis.power import (
    detectable_difference,
    detectable_difference_discordant,
    detectable_two_way,
    power_t,
    power_tost,
    power_two_way,
    sd_upper_limit,
    seeds_for_half_width,
    smallest_sign_flip_p,
)
from layersig.analysis.results import Alternative
from layersig.analysis.twoway import MeanSquares


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


@pytest.mark.parametrize(("items", "points"), [(30, 22.9), (100, 12.5), (164, 9.8), (1319, 3.4)])
def test_detectable_difference_of_binary_items(items: int, points: float):
    assert 100 * detectable_difference_discordant(0.2, items) == pytest.approx(points, abs=0.06)


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


def test_sign_flip_floor():
    assert [smallest_sign_flip_p(s) for s in (3, 5, 6, 8)] == [0.25, 0.0625, 0.03125, 0.0078125]


def test_seeds_for_a_half_width():
    ms = MeanSquares(3, 1000, 0.0, 0.25 + 1000 * 0.0004, 0.25, 0.25)
    seeds = seeds_for_half_width(ms, 0.02)
    assert seeds is not None
    assert seeds > 3
    assert seeds_for_half_width(ms, 0.015) > seeds
    stubborn = MeanSquares(3, 100, 0.0, 0.25, 0.25 + 3 * 0.5, 0.25)
    assert seeds_for_half_width(stubborn, 0.05) is None
