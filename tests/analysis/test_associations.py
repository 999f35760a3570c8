"""Exact tests of associations, against scipy and against enumeration by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.associations import monotone, related

RNG = np.random.default_rng(0)


def symmetric(rng: np.random.Generator, size: int) -> np.ndarray:
    drawn = rng.normal(size=(size, size))
    return np.asarray(drawn + drawn.T)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_kendall_is_exact(size: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(10):
        x, y = rng.normal(size=(2, size))
        found = monotone(x, y, RNG)
        expected = stats.kendalltau(x, y, method="exact")
        assert found is not None
        assert (found.value, found.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_ties_are_counted_in_the_orders_themselves() -> None:
    x, y = np.array([1.0, 1.0, 2.0, 3.0, 3.0]), np.array([0.3, 0.1, 0.2, 0.9, 0.8])
    found = monotone(x, y, RNG)

    def concordance(values: tuple[float, ...]) -> float:
        return sum(np.sign(x[j] - x[i]) * np.sign(values[j] - values[i]) for i in range(5) for j in range(i + 1, 5))

    every = [abs(concordance(order)) for order in permutations(y)]
    assert found is not None
    assert found.value == pytest.approx(stats.kendalltau(x, y).statistic)
    assert found.p == pytest.approx(np.mean([each >= abs(concordance(tuple(y))) for each in every]))
    assert found.least_p == pytest.approx(np.mean([each == max(every) for each in every]))


@pytest.mark.parametrize("size", [5, 6, 7, 9])
def test_the_interval_holds_the_slopes_that_kendalls_test_does_not_reject(size: int) -> None:
    rng = np.random.default_rng(size)
    x = rng.normal(size=size)
    y = 0.5 * x + 0.4 * rng.normal(size=size)
    found = monotone(x, y, np.random.default_rng(1))
    assert found is not None
    assert found.interval is not None
    assert found.slope == pytest.approx(stats.theilslopes(y, x).slope)
    for slope in np.linspace(found.interval.low - 1, found.interval.high + 1, 301):
        kept = stats.kendalltau(x, y - slope * x, method="exact").pvalue > 0.05
        assert bool(kept) is bool(found.interval.contains(slope))


def test_with_four_values_nothing_can_be_told() -> None:
    found = monotone(np.arange(4.0), np.arange(4.0), RNG)
    assert found is not None
    assert (found.value, found.p) == (1, pytest.approx(2 / 24))
    assert found.interval is None
    assert found.least_p == found.p
    five = monotone(np.arange(5.0), np.arange(5.0), RNG)
    assert five is not None
    assert five.least_p == pytest.approx(2 / 120)


@pytest.mark.parametrize("size", [4, 5])
def test_mantel_permutes_members_and_not_pairs(size: int) -> None:
    rng = np.random.default_rng(size)
    a, b = symmetric(rng, size), symmetric(rng, size)
    upper = np.triu_indices(size, 1)
    every = [np.corrcoef(a[upper], b[np.ix_(order, order)][upper])[0, 1] for order in permutations(range(size))]
    found = related(a, b, RNG)
    assert found is not None
    assert found.value == pytest.approx(every[0])
    assert found.p == pytest.approx(np.mean(np.abs(every) >= abs(every[0]) - 1e-12))
    assert found.least_p == pytest.approx(np.mean(np.abs(every) >= np.abs(every).max() - 1e-12))
    assert (found.interval is None) is (size < 5)


def test_a_strong_dependence_is_found_and_the_diagonal_never_read() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=9)
    difference = np.abs(np.subtract.outer(x, x))
    quantity = 1 - difference + 0.05 * symmetric(rng, 9)
    np.fill_diagonal(quantity, np.nan)
    found = related(quantity, difference, np.random.default_rng(3))
    assert found is not None
    assert found.p < 0.001
    assert found.interval is not None
    assert -1 <= found.interval.low < found.value < found.interval.high < -0.8


def test_what_does_not_vary_has_no_association() -> None:
    assert monotone(np.ones(5), np.arange(5.0), RNG) is None
    assert monotone(np.arange(2.0), np.arange(2.0), RNG) is None
    assert related(symmetric(RNG, 4), np.zeros((4, 4)), RNG) is None


def test_without_a_dependence_few_are_found() -> None:
    rng = np.random.default_rng(5)
    found = [related(symmetric(rng, 5), symmetric(rng, 5), rng) for _ in range(300)]
    assert 0.02 < np.mean([each is not None and each.p <= 0.05 for each in found]) < 0.09
