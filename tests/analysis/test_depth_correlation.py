"""Rank correlation over depth and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal, stats

from layersig.analysis.depth_correlation import depth_correlation


def series(rng, blocks, phi):
    noise = rng.standard_normal((2, blocks + 50))
    return signal.lfilter([1.0], [1.0, -phi], noise, axis=1)[:, 50:]


def test_it_is_spearmans_correlation_and_the_interval_is_fishers_at_the_effective_number():
    a, b = np.arange(20.0) + series(np.random.default_rng(1), 20, 0.7)
    found = depth_correlation(a, b, 0.9)
    assert found.value == pytest.approx(stats.spearmanr(a, b).statistic)
    inverse = 1 / 20
    ranks = [stats.rankdata(values) - 10.5 for values in (a, b)]
    for lag in range(1, 5):
        product = 1.0
        for each in ranks:
            pairs = [each[place] * each[place + lag] for place in range(20 - lag)]
            product *= np.mean(pairs) / np.mean(each**2)
        inverse += 2 / 20 * (20 - lag) / 20 * product
    assert found.effective == pytest.approx(1 / inverse)
    half = 1.6448536 * np.sqrt((1 + found.value**2 / 2) / (1 / inverse - 3))
    assert (np.arctanh(found.low), np.arctanh(found.high)) == pytest.approx(
        (np.arctanh(found.value) - half, np.arctanh(found.value) + half), rel=1e-6
    )


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_the_interval_covers_where_neighbours_are_alike(phi):
    rng = np.random.default_rng(0)
    found = [depth_correlation(*series(rng, 30, phi)) for _ in range(200)]
    assert 0.9 <= np.mean([each.low <= 0 <= each.high for each in found]) <= 1
    assert (float(np.mean([each.effective for each in found])) < 20) == (phi > 0)


def test_equal_series_keep_a_proper_interval():
    found = depth_correlation(np.arange(12.0), np.arange(12.0) ** 2)
    assert found.value == pytest.approx(1)
    assert found.effective < 5
    assert found.low < found.high <= 1


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (np.arange(5.0), np.arange(5.0), "6 or more blocks"),
        (np.arange(8.0), np.arange(9.0), "6 or more blocks"),
        (np.arange(8.0), np.ones(8), "constant"),
    ],
)
def test_what_has_no_correlation_is_refused(a, b, told):
    with pytest.raises(ValueError, match=told):
        depth_correlation(a, b)
