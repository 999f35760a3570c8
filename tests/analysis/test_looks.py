from __future__ import annotations

import numpy as np
import pytest

from layersig.analysis.looks import repeated_level


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
