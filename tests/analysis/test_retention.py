import numpy as np
import pytest

from layersig.analysis.fieller import SetShape
from layersig.analysis.floors import RATIO_OF_DIFFERENCES, RATIO_OF_LEVELS
from layersig.analysis.results import Estimate
from layersig.analysis.retention import (
    RatioPart,
    difference_of_ratios,
    mean_of_ratios,
    ratio_bootstrap_items,
    ratio_of_tables,
    room_above_floor,
)
from layersig.analysis.twoway import mean_squares, two_way_estimate


def _outcomes(rng, n: int = 500):
    base = (rng.random(n) < 0.7).astype(float)
    arm = np.where(rng.random(n) < 0.85, base, 1 - base)
    return arm, base


def test_fieller_set_over_items_inverts_the_paired_t_test():
    arm, base = _outcomes(np.random.default_rng(0))
    found = ratio_of_tables(arm[None], base[None])
    assert found.ratio == pytest.approx(arm.mean() / base.mean())
    for end in (found.low, found.high):
        d = arm - end * base
        assert Estimate(float(d.mean()), float(d.std(ddof=1) / d.size**0.5), d.size - 1).p_value() == pytest.approx(
            0.05, abs=1e-9
        )
    boot = ratio_bootstrap_items(arm, base, np.random.default_rng(1), draws=4000)
    assert (boot.low, boot.high) == pytest.approx((found.low, found.high), abs=0.01)


def test_share_of_no_gain_is_unbounded_and_shown_so():
    rng = np.random.default_rng(2)
    found = ratio_of_tables(rng.normal(size=(1, 300)), rng.normal(size=(1, 300)))
    assert found.shape is not SetShape.INTERVAL


def test_draws_without_a_denominator_are_left_out_of_the_bootstrap():
    numerator, denominator = np.array([0.5, 1.0, 0.0, 0.5]), np.array([1.0, -1.0, 0.0, 2.0])
    found = ratio_bootstrap_items(numerator, denominator, np.random.default_rng(5), draws=4000)
    rng = np.random.default_rng(6)
    drawn = rng.integers(4, size=(20000, 4))
    sums = numerator[drawn].sum(axis=1), denominator[drawn].sum(axis=1)
    ratios = sums[0][sums[1] != 0] / sums[1][sums[1] != 0]
    assert (found.low, found.high) == pytest.approx(np.quantile(ratios, [0.025, 0.975]), abs=0.3)


def test_seeds_widen_the_set():
    rng = np.random.default_rng(3)
    arm, base = _outcomes(rng)
    shift = 0.1 * rng.normal(size=(5, 1))
    found = ratio_of_tables(arm + shift, np.tile(base, (5, 1)))
    alone = ratio_of_tables(arm[None], base[None])
    assert found.high - found.low > alone.high - alone.low
    estimate = two_way_estimate(mean_squares(arm + shift - found.low * base), conservative=True)
    df = two_way_estimate(mean_squares(arm + shift - found.ratio * base), conservative=True).df
    assert Estimate(estimate.value, estimate.se, df).p_value() == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(("value", "se", "clear"), [(0.3, 0.05, True), (0.3, 0.11, False), (0.04, 0.001, False)])
def test_a_base_is_clear_of_its_floor_by_three_errors_and_five_points(value: float, se: float, clear: bool):
    assert room_above_floor(Estimate(value, se, 100)) is clear


def test_difference_of_ratios_equals_the_bootstrap():
    rng = np.random.default_rng(5)
    arm_c, base_c = _outcomes(rng)
    arm_g, base_g = _outcomes(rng)
    gap = difference_of_ratios(RatioPart(arm_c[None], base_c[None]), RatioPart(arm_g[None], base_g[None]))
    assert gap is not None
    assert gap.value == pytest.approx(arm_c.mean() / base_c.mean() - arm_g.mean() / base_g.mean())
    drawn = rng.integers(0, 500, size=(4000, 500))
    means = [x[drawn].mean(axis=1) for x in (arm_c, base_c, arm_g, base_g)]
    assert gap.se == pytest.approx(np.std(means[0] / means[1] - means[2] / means[3]), rel=0.06)


def test_a_mean_of_ratios_adds_the_variances_of_tasks_that_share_no_items():
    rng = np.random.default_rng(6)
    pairs = [_outcomes(rng, n) for n in (100, 300, 40)]
    found = mean_of_ratios([RatioPart(arm[None], base[None], 1 / 3) for arm, base in pairs])
    assert found is not None
    ratios = [arm.mean() / base.mean() for arm, base in pairs]
    parts = [
        np.var((arm - r * base) / base.mean(), ddof=1) / arm.size for (arm, base), r in zip(pairs, ratios, strict=True)
    ]
    assert found.value == pytest.approx(np.mean(ratios))
    assert found.se == pytest.approx(sum(parts) ** 0.5 / 3)


def test_what_a_run_does_to_all_tasks_widens_their_mean():
    rng = np.random.default_rng(7)
    shift = 0.1 * rng.normal(size=(5, 1))
    tables = []
    for _ in range(4):
        arm, base = _outcomes(rng)
        tables.append((np.tile(arm, (5, 1)) + shift, np.tile(base, (5, 1))))
    found = mean_of_ratios([RatioPart(arm, base, 0.25) for arm, base in tables])
    assert found is not None
    by_run = np.mean([arm.mean(axis=1) / base.mean() for arm, base in tables], axis=0)
    assert found.se == pytest.approx(float(np.std(by_run, ddof=1) / 5**0.5), rel=0.1)
    assert found.df == pytest.approx(4, abs=2)


ZEROS, ONES = np.zeros((1, 40)), np.ones((1, 40))


@pytest.mark.parametrize(
    ("arm", "base"),
    [
        (ZEROS, np.repeat([[1.0, 0.0]], [24, 16], axis=1)),
        (ONES, ONES),
        (ZEROS, ONES),
        (np.tile(ZEROS, (3, 1)), np.tile(ONES, (3, 1))),
    ],
)
def test_a_ratio_of_right_or_wrong_items_is_never_certain(arm: np.ndarray, base: np.ndarray):
    found = ratio_of_tables(arm, base, added=RATIO_OF_LEVELS)
    assert found.ratio == arm.mean() / base.mean()
    assert found.shape is SetShape.INTERVAL
    assert found.high - found.low > 0.05
    assert found.contains(found.ratio)


def test_shares_of_a_gain_are_never_certain():
    gain = np.repeat([[1.0, 0.0]], [10, 30], axis=1)
    for own in (gain, ZEROS):
        found = ratio_of_tables(own, gain, added=RATIO_OF_DIFFERENCES)
        assert found.contains(found.ratio)
        assert found.shape is not SetShape.INTERVAL or found.high - found.low > 0.3


@pytest.mark.parametrize("added", [RATIO_OF_LEVELS, RATIO_OF_DIFFERENCES])
def test_pseudo_items_of_ratios_are_balanced(added: np.ndarray):
    """Each side gains two successes and two failures (or a win and a loss), the contrast a win and a loss."""
    top, bottom = added
    assert top.mean() == bottom.mean()
    assert sorted((top - bottom).tolist()) == [-1, 0, 0, 1]


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="equal shape"):
        ratio_of_tables(np.zeros((1, 3)), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="scores 0"):
        difference_of_ratios(RatioPart(ONES, ZEROS), RatioPart(ONES, ONES))
