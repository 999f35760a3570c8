import numpy as np
import pytest

from layersig.analysis.fieller import SetShape
from layersig.analysis.results import Estimate
from layersig.analysis.retention import (
    corrected_retention_items,
    ratio_bootstrap_items,
    ratio_fieller_items,
    ratio_fieller_items_and_seeds,
    retention_gap_items,
)
from layersig.analysis.twoway import mean_squares, two_way_estimate


def _outcomes(rng, n: int = 500):
    base = (rng.random(n) < 0.7).astype(float)
    arm = np.where(rng.random(n) < 0.85, base, 1 - base)
    return arm, base


def test_fieller_set_over_items_inverts_the_paired_t_test():
    arm, base = _outcomes(np.random.default_rng(0))
    found = ratio_fieller_items(arm, base)
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
    found = ratio_fieller_items(rng.normal(size=300), rng.normal(size=300))
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
    found = ratio_fieller_items_and_seeds(arm + shift, np.tile(base, (5, 1)))
    alone = ratio_fieller_items(arm, base)
    assert found.high - found.low > alone.high - alone.low
    estimate = two_way_estimate(mean_squares(arm + shift - found.low * base), conservative=True)
    df = two_way_estimate(mean_squares(arm + shift - found.ratio * base), conservative=True).df
    assert Estimate(estimate.value, estimate.se, df).p_value() == pytest.approx(0.05, abs=1e-9)


def test_retention_above_a_measured_floor():
    rng = np.random.default_rng(4)
    arm, base = _outcomes(rng)
    floor = (rng.random(500) < 0.25).astype(float)
    corrected = corrected_retention_items(arm, base, floor)
    assert corrected.retention is not None
    assert corrected.retention.ratio == pytest.approx((arm - floor).mean() / (base - floor).mean())
    assert not corrected.at_floor


@pytest.mark.parametrize("advantage", [0.0, 0.04])
def test_base_at_the_floor_gives_no_ratio(advantage: float):
    n = 4000
    floor = (np.arange(n) % 2 == 0).astype(float)
    base = floor.copy()
    base[1 : 1 + 2 * round(advantage * n) : 2] = 1.0
    corrected = corrected_retention_items(base, base, floor)
    assert corrected.room.value == pytest.approx(advantage, abs=1e-9)
    assert corrected.at_floor


def test_gap_between_formats_equals_the_bootstrap():
    rng = np.random.default_rng(5)
    arm_c, base_c = _outcomes(rng)
    arm_g, base_g = _outcomes(rng)
    gap = retention_gap_items(arm_c, base_c, arm_g, base_g)
    assert gap.value == pytest.approx(arm_c.mean() / base_c.mean() - arm_g.mean() / base_g.mean())
    drawn = rng.integers(0, 500, size=(4000, 500))
    means = [x[drawn].mean(axis=1) for x in (arm_c, base_c, arm_g, base_g)]
    assert gap.se == pytest.approx(np.std(means[0] / means[1] - means[2] / means[3]), rel=0.06)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="equal shape"):
        ratio_fieller_items(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="scores 0"):
        retention_gap_items(np.ones(3), np.zeros(3), np.ones(3), np.ones(3))
