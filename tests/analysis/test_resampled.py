from __future__ import annotations

import numpy as np
import pytest

from layersig.analysis.means import mean_items
from layersig.analysis.resampled import estimate_from_resamples


def replicates_of_mean(values: np.ndarray, draws: int, seed: int = 0) -> np.ndarray:
    """Means of resamples, the same resamples for every row."""
    rows = np.random.default_rng(seed).integers(0, values.shape[1], size=(draws, values.shape[1]))
    return values[:, rows].mean(axis=2)


def test_of_a_mean_it_is_the_usual_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=(1, 12))
    found = estimate_from_resamples(values.mean(axis=1), replicates_of_mean(values, 40_000), 12)
    usual = mean_items(values[0])
    assert found is not None
    assert found.value == pytest.approx(usual.value)
    assert found.se == pytest.approx(usual.se, rel=0.02)
    assert found.df == usual.df


def test_over_runs_it_counts_items_and_runs() -> None:
    rng = np.random.default_rng(2)
    runs, items = rng.normal(size=(4, 1)), rng.normal(size=(1, 50))
    values = runs + items
    found = estimate_from_resamples(values.mean(axis=1), replicates_of_mean(values, 40_000), 50)
    assert found is not None
    expected = np.hypot(mean_items(items[0]).se, mean_items(runs[:, 0]).se)
    assert found.se == pytest.approx(expected, rel=0.02)
    assert 3 < found.df < 49


@pytest.mark.parametrize(
    ("replicates", "units"),
    [
        (np.zeros((1, 100)), 10),  # no spread is no certainty
        (np.random.default_rng(0).normal(size=(1, 100)), 1),
        (np.where(np.arange(100) < 10, np.nan, np.random.default_rng(0).normal(size=(1, 100))), 10),
    ],
    ids=["no spread", "one unit", "undefined too often"],
)
def test_what_resamples_cannot_tell(replicates: np.ndarray, units: int) -> None:
    assert estimate_from_resamples(np.array([0.5]), replicates, units) is None


def test_a_few_undefined_resamples_are_left_out() -> None:
    replicates = np.random.default_rng(0).normal(size=(1, 1000))
    without = estimate_from_resamples(np.array([0.5]), replicates[:, 20:], 10)
    assert estimate_from_resamples(np.array([0.5]), np.where(np.arange(1000) < 20, np.nan, replicates), 10) == without


def f1(rows: np.ndarray) -> np.ndarray:
    """F1 of pairs of right and given class, shape (..., n, 2)."""
    right, given = rows[..., 0], rows[..., 1]
    return 2 * (right * given).sum(-1) / (right + given).sum(-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "differing", "covered"), [(300, 0.1, 0.95), (300, 0.05, 0.94), (100, 0.1, 0.93), (100, 0.05, 0.90)]
)
def test_intervals_of_differences_in_f1_cover_as_the_docstring_says(n: int, differing: float, covered: float) -> None:
    """Two models on the same items, 2,000 studies: how often 95 % intervals of the difference hold the true one."""
    rng, studies = np.random.default_rng(3), 2000

    def draw(size: tuple[int, ...]) -> np.ndarray:
        right = rng.random(size) < 0.5
        hard = rng.random(size)
        first, second = (np.where(hard < accuracy, right, ~right) for accuracy in (0.8, 0.8 - differing))
        return np.stack([np.stack([right, each], axis=-1) for each in (first, second)]).astype(float)

    [truth] = np.subtract(*f1(draw((1, 2_000_000))))
    first, second = draw((studies, n))
    held = 0
    for study in range(studies):
        rows = rng.integers(0, n, size=(500, n))
        value = f1(first[study]) - f1(second[study])
        replicates = f1(first[study][rows]) - f1(second[study][rows])
        found = estimate_from_resamples(np.array([value]), replicates[None], n)
        held += found is not None and found.interval().contains(truth)
    assert held / studies == pytest.approx(covered, abs=0.02)


def test_models_that_answer_alike_give_no_interval() -> None:
    assert estimate_from_resamples(np.zeros(1), np.zeros((1, 500)), 100) is None
