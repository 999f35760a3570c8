from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.looks import EffectAtLook, Look, Spending, repeated_level
from layersig.analysis.results import Estimate


@pytest.mark.parametrize(
    ("looks", "rate"),
    # Armitage, McPherson and Rowe 1969, table 2: equal steps at two-sided 5 %.
    [(1, 0.050), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193)],
)
def test_repeated_tests_err_as_published(looks, rate):
    assert repeated_level(0.05, range(1, looks + 1)) == pytest.approx(rate, abs=6e-4)


@pytest.mark.parametrize("runs", [(3, 5), (3, 4, 10), (5, 6)])
def test_unequal_steps_err_as_simulated(runs):
    rng = np.random.default_rng(0)
    sums = np.cumsum(rng.standard_normal((200_000, max(runs))), axis=1)
    z = np.stack([sums[:, n - 1] / np.sqrt(n) for n in runs])
    assert repeated_level(0.05, runs) == pytest.approx((np.abs(z) > 1.959964).any(axis=0).mean(), abs=0.002)


@pytest.mark.parametrize("runs", [(3, 3), (5, 3), (0, 2)])
def test_looks_must_grow(runs):
    with pytest.raises(ValueError, match="growing numbers of runs"):
        repeated_level(0.05, runs)


@pytest.mark.parametrize(
    ("spending", "bounds"),
    # Five equal looks at two-sided 5 %, from ldBounds 1.3 and gsDesign; Lan and DeMets 1983.
    [
        (Spending.OBRIEN_FLEMING, [4.877, 3.357, 2.680, 2.290, 2.031]),
        (Spending.POCOCK, [2.438, 2.427, 2.410, 2.397, 2.386]),
    ],
)
def test_boundaries_are_those_published(spending, bounds):
    found = [Look((2, 4, 6, 8, 10), number, spending).bound(0.05) for number in range(1, 6)]
    assert found == pytest.approx(bounds, abs=2e-3)


@pytest.mark.parametrize("spending", Spending)
@pytest.mark.parametrize(("runs", "alpha"), [((2, 5), 0.05), ((3, 4, 10), 0.05), ((2, 5), 0.01), ((2, 3, 5), 0.2)])
def test_all_looks_together_err_as_declared_by_the_multivariate_normal_law(spending, runs, alpha):
    bounds = [Look(runs, number, spending).bound(alpha) for number in range(1, len(runs) + 1)]
    correlation = np.sqrt(np.minimum.outer(runs, runs) / np.maximum.outer(runs, runs))
    law = stats.multivariate_normal(np.zeros(len(runs)), correlation, seed=0, abseps=1e-7, maxpts=2_000_000)
    inside = law.cdf(bounds, lower_limit=[-bound for bound in bounds])
    assert 1 - inside == pytest.approx(alpha, abs=2e-5)


@pytest.mark.parametrize("look", [Look((2, 5), 1), Look((2, 5), 2), Look((2, 4, 8), 2, Spending.POCOCK)])
def test_a_p_value_that_allows_for_looks_is_the_level_whose_boundary_is_reached(look):
    for p in (1e-15, 1e-6, 0.004, 0.03, 0.2):
        overall = look.p_value(p)
        assert overall >= p
        assert look.level(overall) == pytest.approx(p, rel=1e-5)
    assert look.p_value(0.0) == 0.0
    assert look.p_value(1.0) == 1.0
    assert look.p_value(look.level(0.05)) == pytest.approx(0.05, rel=1e-5)


def test_tests_and_intervals_of_an_effect_agree_at_every_look():
    effect = EffectAtLook(Estimate(0.3, 0.1, 12), Look((2, 5), 1))
    p = effect.p_value()
    assert p > Estimate(0.3, 0.1, 12).p_value()
    assert effect.interval(1 - p).low == pytest.approx(0.0, abs=1e-6)
    assert effect.interval(0.95).level == 0.95
    assert effect.mirrored().interval(0.95).high == pytest.approx(-effect.interval(0.95).low)
