import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from layersig.analysis.twoway import (
    MeanSquares,
    bootstrap_items_and_seeds,
    mean_squares,
    two_way_covariance,
    two_way_estimate,
)


def test_mean_squares_equal_statsmodels():
    import pandas as pd
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    table = np.random.default_rng(0).normal(size=(4, 9))
    s, i = np.meshgrid(range(4), range(9), indexing="ij")
    frame = pd.DataFrame({"y": table.ravel(), "s": s.ravel(), "i": i.ravel()})
    reference = anova_lm(smf.ols("y ~ C(s) + C(i)", frame).fit())["mean_sq"].to_numpy()
    ms = mean_squares(table)
    assert (ms.seed, ms.item, ms.residual) == pytest.approx(tuple(reference), abs=1e-10)
    assert ms.mean == pytest.approx(table.mean())


def test_estimate_by_hand():
    estimate = two_way_estimate(MeanSquares(5, 100, 0.1, 2.0, 1.5, 1.0))
    assert estimate.se == pytest.approx((2.5 / 500) ** 0.5)
    limit = 2.0 * 4 / stats.chi2.ppf(0.2, 4)  # of the mean square of seeds
    expected = (limit + 0.5) ** 2 / (limit**2 / 4 + 1.5**2 / 99 + 1 / (4 * 99))
    assert estimate.df == pytest.approx(expected)
    careful = two_way_estimate(MeanSquares(5, 100, 0.1, 2.0, 1.5, 1.0), conservative=True)
    assert careful.se == pytest.approx((3.5 / 500) ** 0.5)
    assert careful.df == pytest.approx((limit + 1.5) ** 2 / (limit**2 / 4 + 1.5**2 / 99))


def test_negative_variance_falls_back_to_the_conservative_version():
    ms = MeanSquares(5, 100, 0.1, 0.2, 0.3, 1.0)
    assert two_way_estimate(ms) == two_way_estimate(ms, conservative=True)
    assert two_way_estimate(ms).se > 0


@pytest.mark.parametrize(
    "ms",
    [
        MeanSquares(3, 19, 0.0, 7.8e-05, 1.681e-3, 1.642e-3),
        MeanSquares(3, 30, 0.0, 1.47e-4, 1.0234e-3, 1.0168e-3),
    ],
)
def test_a_difference_with_less_than_one_degree_of_freedom_is_not_taken(ms: MeanSquares):
    assert ms.seed + ms.item > ms.residual
    estimate = two_way_estimate(ms)
    assert estimate == two_way_estimate(ms, conservative=True)
    assert estimate.df > 1
    assert estimate.interval().half_width < 4 * (ms.item / (ms.seeds * ms.items)) ** 0.5


@pytest.mark.parametrize("seed_sd", [0.0, 0.02, 0.1])
def test_coverage_at_five_seeds_with_little_variance_between_them(seed_sd: float):
    rng = np.random.default_rng(5)
    reps, seeds, items = 800, 5, 40
    tables = (
        seed_sd * rng.normal(size=(reps, seeds, 1))
        + 0.1 * rng.normal(size=(reps, 1, items))
        + rng.normal(size=(reps, seeds, items))
    )
    intervals = [two_way_estimate(mean_squares(table)).interval() for table in tables]
    assert np.mean([interval.contains(0.0) for interval in intervals]) >= 0.93
    assert max(interval.half_width for interval in intervals) < 1.0


def test_mean_squares_are_unbiased_for_the_components():
    rng = np.random.default_rng(1)
    found = np.mean(
        [
            mean_squares(0.5 * rng.normal(size=(6, 1)) + 0.8 * rng.normal(size=50) + rng.normal(size=(6, 50))).variances
            for _ in range(3000)
        ],
        axis=0,
    )
    np.testing.assert_allclose(found, [0.25, 0.64, 1.0], rtol=0.05)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.integers(2, 30), st.integers(0, 2**32 - 1), st.floats(-5, 5), st.floats(0.1, 10))
def test_shift_and_scale(seeds: int, items: int, seed: int, shift: float, scale: float):
    table = np.random.default_rng(seed).normal(size=(seeds, items))
    plain, moved = (two_way_estimate(mean_squares(t)) for t in (table, shift + scale * table))
    assert moved.value == pytest.approx(shift + scale * plain.value, abs=1e-9)
    assert moved.se == pytest.approx(scale * plain.se, rel=1e-6)
    assert moved.df == pytest.approx(plain.df, rel=1e-6)
    careful = two_way_estimate(mean_squares(table), conservative=True)
    assert careful.se >= plain.se - 1e-12


def test_covariance_is_that_of_linear_combinations():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 5, 40))
    covariance = two_way_covariance(a, b)
    for r in (-1.0, 0.3, 2.0):
        contrast = np.array([1.0, -r])
        direct = two_way_estimate(mean_squares(a - r * b), conservative=True).se ** 2
        assert contrast @ covariance @ contrast == pytest.approx(direct, abs=1e-12)


def test_crossed_bootstrap_has_the_variance_of_the_pigeonhole():
    rng = np.random.default_rng(3)
    table = rng.normal(size=(8, 60)) + rng.normal(size=(8, 1)) + rng.normal(size=60)
    interval = bootstrap_items_and_seeds(table, np.random.default_rng(0), draws=8000)
    # Direct resampling of rows and columns as the reference.
    means = [table[np.ix_(rng.integers(0, 8, 8), rng.integers(0, 60, 60))].mean() for _ in range(8000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.05)


def test_too_few_seeds_are_refused():
    with pytest.raises(ValueError, match="at least 5 seeds"):
        bootstrap_items_and_seeds(np.zeros((4, 10)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="seeds >= 2"):
        mean_squares(np.zeros((1, 10)))


def test_mmlu_sized_tables_of_eight_arms_are_quick():
    tables = np.random.default_rng(4).normal(size=(8, 5, 14_042))
    start = time.process_time()
    for table in tables:
        two_way_estimate(mean_squares(table)).interval()
    assert time.process_time() - start < 1


@pytest.mark.parametrize("load", [0.0, 3.0, 10.0, 100.0])
def test_two_seeds_seldom_tell_two_equal_methods_apart(load: float):
    """Pairs of arms that differ in seed only: mean squares drawn from their laws, seed variance load / n."""
    rng, n, draws = np.random.default_rng(7), 1000, 2000
    seed, item = (1 + load) * rng.chisquare(1, draws), rng.chisquare(n - 1, (2, draws)) / (n - 1)
    means = rng.normal(size=draws) * np.sqrt((load + 1) / (2 * n))
    tables = (MeanSquares(2, n, *map(float, row)) for row in zip(means, seed, *item, strict=True))
    false = sum(not two_way_estimate(table).interval().contains(0) for table in tables)
    assert false / draws <= 0.065


@pytest.mark.parametrize(
    ("seeds", "load"),
    [(3, 6.0), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((3, 2.0), (5, 3.0), (5, 6.0)))],
)
def test_a_few_runs_keep_the_level_that_a_family_of_tests_needs(seeds: int, load: float):
    """With degrees of freedom at the observed mean square, three runs err up to five times as often at .05 / 9."""
    rng, n, reps = np.random.default_rng(8), 200, 20_000
    seed = (1 + load**2) * rng.chisquare(seeds - 1, reps) / (seeds - 1)
    item = (1 + seeds) * rng.chisquare(n - 1, reps) / (n - 1)
    rest = rng.chisquare((seeds - 1) * (n - 1), reps) / ((seeds - 1) * (n - 1))
    mean = rng.standard_normal(reps) * ((1 + load**2 + seeds) / (seeds * n)) ** 0.5
    p = np.array(
        [
            two_way_estimate(MeanSquares(seeds, n, *each)).p_value()
            for each in zip(mean.tolist(), seed.tolist(), item.tolist(), rest.tolist(), strict=True)
        ]
    )
    assert (p <= 0.05).mean() < 0.055
    assert (p <= 0.05 / 9).mean() < 2.2 * 0.05 / 9
