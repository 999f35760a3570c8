from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.simultaneous import LargestT, largest_of


def of_table(table: np.ndarray, seed: int = 0) -> tuple[LargestT, np.ndarray]:
    """The law for plain means of (means, items), and their t statistics."""
    n = table.shape[1]
    errors = table.std(axis=1, ddof=1) / n**0.5
    found = largest_of((table - table.mean(axis=1, keepdims=True)) / n, errors, n - 1, np.random.default_rng(seed))
    return found, table.mean(axis=1) / errors


@pytest.mark.parametrize("means", [1, 2, 7, 30])
def test_independent_means_have_the_studentised_maximum_modulus(means: int) -> None:
    # Orthogonal contributions: P(max |t| <= c) with a common scale, by numerical integration.
    df, level = 40, 0.95
    found = largest_of(np.eye(means), np.ones(means), df, np.random.default_rng(1))
    critical = stats.t.ppf((1 + found.single_level(level)) / 2, df)
    grid = np.linspace(0.2, 2.2, 20_001)
    weights = stats.chi(df, scale=1 / df**0.5).pdf(grid)
    covered = np.trapezoid(weights * (2 * stats.norm.cdf(critical * grid) - 1) ** means, grid)
    assert covered == pytest.approx(level, abs=0.006)


def test_equal_means_need_no_correction_and_the_law_is_multivariate_t() -> None:
    same = largest_of(np.ones((5, 1)), np.ones(5), 12, np.random.default_rng(2))
    assert same.single_level(0.95) == pytest.approx(0.95, abs=0.005)
    correlation = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, -0.3], [0.2, -0.3, 1.0]])
    found = largest_of(np.linalg.cholesky(correlation), np.ones(3), 9, np.random.default_rng(3))
    for t in (1.5, 2.4, 3.5):
        law = stats.multivariate_t(shape=correlation, df=9)
        inside = law.cdf(np.full(3, t), lower_limit=np.full(3, -t), random_state=0)
        assert found.p_value(t) == pytest.approx(1 - inside, abs=0.008)


def test_it_agrees_with_all_sign_flips() -> None:
    # Westfall and Young's max-T by enumeration: whole items change their sign, so that correlations stay.
    rng = np.random.default_rng(4)
    table = rng.normal(size=(4, 1)) * 0.4 + rng.normal(size=(4, 12)) + rng.normal(size=12)
    found, t = of_table(table)
    flips = np.array(list(itertools.product([-1.0, 1.0], repeat=12)))
    flipped = flips @ table.T / 12
    spread = np.sqrt(((table**2).mean(axis=1) - flipped**2) * 12 / 11 / 12)
    largest = np.abs(flipped / spread).max(axis=1)
    for value in t:
        exact = float((largest >= abs(value) - 1e-9).mean())
        assert found.p_value(value) == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_band_leaves_out_the_hypothesis_exactly_where_the_p_value_says_so(level: float) -> None:
    found = largest_of(np.eye(6), np.ones(6), 20, np.random.default_rng(5))
    critical = stats.t.ppf((1 + found.single_level(level)) / 2, 20)
    assert found.p_value(critical * (1 + 1e-6)) <= 1 - level
    assert found.p_value(critical * (1 - 1e-3)) > 1 - level - 1e-9


def test_errors_beyond_the_contributions_count_as_independent() -> None:
    shared = np.ones((8, 1))
    tight, loose = (largest_of(shared, np.full(8, se), 50, np.random.default_rng(6)) for se in (1.0, 3.0))
    assert loose.single_level(0.95) > tight.single_level(0.95) + 0.03


def test_what_has_no_error_is_refused() -> None:
    with pytest.raises(ValueError, match="positive error"):
        largest_of(np.zeros((2, 3)), np.array([1.0, 0.0]), 5, np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.parametrize(("items", "right"), [(24, 0.5), (100, 0.3), (100, 0.9)])
def test_one_false_alarm_in_twenty_sweeps(items: int, right: float) -> None:
    """30 blocks that change each item with probability 0.15, both ways alike: right or wrong, with pseudo-items."""
    from layersig.analysis.tables import Floor, mean_of

    rng, alarms, studies = np.random.default_rng(7), 0, 600
    for _ in range(studies):
        ability = rng.uniform(size=items) < right
        redrawn = rng.uniform(size=(30, items)) < 0.3
        blocks = np.where(redrawn, rng.uniform(size=(30, items)) < right, ability)
        base = np.where(rng.uniform(size=items) < 0.3, rng.uniform(size=items) < right, ability)
        table = blocks.astype(float) - base
        means = [mean_of(row[None], floor=Floor.DIFFERENCE) for row in table]
        errors = np.array([each.se for each in means if each is not None])
        t = np.array([(each.centre or 0.0) / each.se for each in means if each is not None])
        law = largest_of((table - table.mean(axis=1, keepdims=True)) / items, errors, items + 1, rng)
        alarms += law.p_value(float(np.abs(t).max())) <= 0.05
    assert alarms / studies <= 0.07
