import numpy as np
import pytest
from scipy import stats

from layersig.analysis.floors import DIFFERENCE, LEVEL
from layersig.analysis.results import Estimate
from layersig.analysis.tables import Floor, NoInterval, mean_of, no_interval


@pytest.mark.parametrize("right", [0, 1, 20, 39, 40])
def test_a_share_has_agresti_and_coulls_interval(right: int):
    found = mean_of((np.arange(40) < right).astype(float)[None], floor=Floor.LEVEL)
    assert found is not None
    centre = (right + 2) / 44
    se = (centre * (1 - centre) / 43) ** 0.5
    reach = stats.t.ppf(0.975, 43) * se
    assert (found.value, found.se) == pytest.approx((right / 40, se))
    assert (found.interval().low, found.interval().high) == pytest.approx(
        (max(0, centre - reach), min(1, centre + reach))
    )


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (3, 1), (0, 12)])
def test_a_difference_has_bonett_and_prices_interval(wins: int, losses: int):
    d = np.concatenate([np.ones(wins), -np.ones(losses), np.zeros(30 - wins - losses)])
    found = mean_of(d[None], floor=Floor.DIFFERENCE)
    assert found is not None
    p, q = (wins + 1) / 32, (losses + 1) / 32
    se = ((p + q - (p - q) ** 2) / 31) ** 0.5  # theirs has 32
    assert found.se == pytest.approx(se)
    assert found.interval().half_width == pytest.approx(stats.t.ppf(0.975, 31) * se)
    assert found.p_value() == pytest.approx(2 * stats.t.sf(abs(p - q) / se, 31))


def test_runs_that_do_not_differ_leave_the_fewest_degrees_of_freedom():
    for runs in (2, 3, 8):
        found = mean_of(np.ones((runs, 5)), floor=Floor.DIFFERENCE)
        assert found is not None
        assert found.df == min(runs, 7) - 1


def test_pseudo_items_vanish_with_many_items():
    d = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=(4, 20_000))
    found, plain = mean_of(d, floor=Floor.DIFFERENCE), mean_of(d)
    assert found is not None
    assert plain is not None
    assert found.se == pytest.approx(plain.se, rel=1e-3)
    assert found.interval().low == pytest.approx(plain.interval().low, abs=1e-4)


@pytest.mark.parametrize(
    ("table", "magnitude", "reason"),
    [
        (np.ones((3, 1)), None, NoInterval.TOO_FEW),
        (np.ones((1, 9)), None, NoInterval.NO_VARIATION),
        (np.zeros((3, 9)), None, NoInterval.NO_VARIATION),
        (np.array([[7.1 - 7.0, 8.1 - 8.0, 3.1 - 3.0]]), 8.0, NoInterval.NO_VARIATION),
        (1e-9 * np.arange(9.0)[None], 2.0, NoInterval.NO_VARIATION),
        (np.arange(9.0)[None], None, None),
        (np.ones((2, 9)) * [[1.0], [2.0]], None, None),
    ],
)
def test_a_table_without_information_has_a_reason(
    table: np.ndarray, magnitude: float | None, reason: NoInterval | None
):
    assert no_interval(table, magnitude=magnitude) is reason
    assert (mean_of(table, magnitude=magnitude) is None) == (reason is not None)


def test_pseudo_items_are_balanced():
    assert LEVEL.mean() == 0.5
    assert DIFFERENCE.sum() == 0


def test_a_mirrored_estimate_mirrors_all_of_it():
    estimate = Estimate(0.9, 0.1, 9, 0.85, (-1.0, 1.0))
    mirror = estimate.mirrored()
    for level in (0.9, 0.99):
        ours, theirs = estimate.interval(level), mirror.interval(level)
        assert (theirs.low, theirs.high) == (-ours.high, -ours.low)
    assert mirror.p_value(-0.5) == pytest.approx(estimate.p_value(0.5))
