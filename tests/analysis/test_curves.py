from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.curves import band, best_set, trend
from layersig.analysis.looks import Look
from layersig.analysis.results import FloatArray
from layersig.analysis.tables import Floor
from layersig.analysis.twoway import mean_squares, two_way_estimate


def tables(means: list[float], seeds: int, items: int = 40, noise: float = 1.0, seed: int = 0) -> FloatArray:
    """Points that share items and seeds, shape (points, seeds, items)."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 2, (1, 1, items)) + rng.normal(0, 1, (1, seeds, 1))
    return np.array(means)[:, None, None] + shared + noise * rng.standard_normal((len(means), seeds, items))


@pytest.mark.parametrize("points", [2, 3, 4, 7])
def test_the_trend_of_one_run_is_that_of_the_slopes_of_items(points: int) -> None:
    found = trend(values := tables(list(np.linspace(0, 0.4, points)), 1))
    slopes = np.polyfit(np.arange(points), values[:, 0], 1)[0]
    assert found is not None
    assert found.slope == pytest.approx(slopes.mean())
    assert found.p_value() == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    low, high = stats.ttest_1samp(slopes, 0).confidence_interval(0.9)
    ends = found.interval(0.9)
    assert [ends.low, ends.high] == pytest.approx([low, high])


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_with_several_runs_the_slopes_of_items_and_runs_are_both_random(seeds: int) -> None:
    found = trend(values := tables([0.0, 0.1, 0.2, 0.3], seeds))
    slopes = np.polyfit(np.arange(4), values.reshape(4, -1), 1)[0].reshape(seeds, -1)
    expected = two_way_estimate(mean_squares(slopes))
    if seeds < 5:
        expected = replace(expected, df=seeds - 1)
    assert found is not None
    assert found.slope == pytest.approx(expected.value)
    assert found.p_value() == pytest.approx(expected.p_value())
    assert found.interval().half_width == pytest.approx(expected.interval().half_width)


def test_what_all_points_share_cancels_in_the_trend() -> None:
    plain, loud = trend(tables([0.0, 0.1, 0.2], 3)), trend(tables([0.0, 0.1, 0.2], 3) + 100 * np.arange(40))
    assert plain is not None
    assert loud is not None
    assert loud.interval().half_width == pytest.approx(plain.interval().half_width)


def test_right_and_wrong_items_that_never_differ_leave_a_trend_open() -> None:
    same = np.ones((4, 3, 30))
    assert trend(same) is None
    found = trend(same, floor=Floor.DIFFERENCE)
    assert found is not None
    assert found.interval().low < 0 < found.interval().high
    assert found.p_value() > 0.5


def test_two_points_have_the_trend_of_their_difference() -> None:
    values = (tables([0.0, 0.8], 1, noise=2) > 0).astype(float)
    found = trend(values, floor=Floor.DIFFERENCE)
    assert found is not None
    assert found.slope == pytest.approx(float((values[1] - values[0]).mean()))


@pytest.mark.parametrize("points", [2, 5])
def test_the_band_is_wider_than_single_intervals_by_the_number_of_points(points: int) -> None:
    values = tables([0.0] * points, 1)
    for table, found in zip(values, band(values, 0.95), strict=True):
        low, high = stats.ttest_1samp(table[0], 0).confidence_interval(1 - 0.05 / points)
        assert found is not None
        assert [found.low, found.high] == pytest.approx([low, high])


def test_the_best_set_is_that_of_paired_one_sided_tests() -> None:
    rng = np.random.default_rng(3)
    for number in range(20):
        values = tables(list(rng.normal(0, 0.3, 4)), 1, seed=number)
        expected = tuple(
            all(
                stats.ttest_rel(values[other, 0], values[point, 0], alternative="greater").pvalue > 0.05 / 3
                for other in range(4)
                if other != point
            )
            for point in range(4)
        )
        assert best_set(values) == expected


def test_the_highest_mean_is_always_in_the_best_set() -> None:
    for number in range(30):
        values = tables([0.0, 0.2, 0.4, 0.1], 3, seed=number)
        assert best_set(values)[int(values.mean(axis=(1, 2)).argmax())]


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_a_clear_optimum_stands_alone_and_equal_points_stay_together(seeds: int) -> None:
    assert best_set(tables([0.0, 5.0, 1.0], seeds)) == (False, True, False)
    assert best_set(np.repeat(tables([0.0], seeds), 3, axis=0)) == (True, True, True)
    assert best_set(np.ones((3, seeds, 20)), floor=Floor.DIFFERENCE) == (True, True, True)


def test_two_runs_can_exclude_little() -> None:
    assert best_set(tables([0.0, 0.5, 0.2], 2, items=5)) == (True, True, True)


LOOK = Look((2, 5), 1)


def test_at_a_look_trends_and_bands_are_those_of_its_level() -> None:
    values = tables([0.0, 0.3, 0.5], 2)
    plain, found = trend(values), trend(values, look=LOOK)
    assert plain is not None
    assert found is not None
    assert found.slope == plain.slope
    assert found.p_value() == pytest.approx(LOOK.p_value(plain.p_value()))
    wide, ends = plain.interval(1 - LOOK.level(0.1)), found.interval(0.9)
    assert (ends.low, ends.high, ends.level) == pytest.approx((wide.low, wide.high, 0.9))
    # Each point has the coverage that three of them need, over all looks.
    each = 1 - LOOK.level(0.1 / 3)
    singly = [band(values[[point]], each)[0] for point in range(3)]
    for one, other in zip(band(values, 0.9, look=LOOK), singly, strict=True):
        assert one is not None
        assert other is not None
        assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_at_a_look_a_point_leaves_the_best_set_at_its_level() -> None:
    values = tables([0.0, 1.5], 2, items=400)
    difference = trend(values)
    assert difference is not None
    one_sided = difference.p_value() / 2
    assert LOOK.level(0.05) < one_sided < 0.05
    assert best_set(values) == (False, True)
    assert best_set(values, look=LOOK) == (True, True)


def test_few_right_and_wrong_items_are_no_trend_of_a_difference() -> None:
    # Of four items that an arm gains on its control, the exact test of signs has p = .125.
    gained = np.zeros((2, 1, 60))
    gained[1, 0, :4] = 1
    plain, found = trend(gained), trend(gained, floor=Floor.OF_DIFFERENCES)
    assert plain is not None
    assert found is not None
    assert plain.p_value() < 0.05 < found.p_value()
    assert found.slope == plain.slope
    # Every item moves by 2: the arm solves it at last, the control no longer.
    crossed = trend(np.stack([-np.ones((1, 60)), np.ones((1, 60))]), floor=Floor.OF_DIFFERENCES)
    assert crossed is not None
    assert crossed.slope == 2
    assert 1 < crossed.interval().low < crossed.interval().high == 2
