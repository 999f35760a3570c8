from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from layersig.analysis.means import mean_items
from layersig.findings.outcomes import Items, Measure, outcome_tables
from layersig.records import Cell, Outcome


def test_weighted_clustered_mean_agrees_with_cluster_robust_regression() -> None:
    rng = np.random.default_rng(3)
    n = 40
    values, weights = rng.normal(size=n), rng.integers(1, 50, size=n).astype(float)
    clusters = np.sort(rng.integers(0, 9, size=n))
    clusters = np.unique(clusters, return_inverse=True)[1]
    items = Items(tuple(map(str, range(n))), weights, clusters.astype(np.int64))
    ours = mean_items(items.unit_values(values))
    fit = sm.WLS(values, np.ones(n), weights=weights).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    assert ours.value == pytest.approx(fit.params[0], rel=1e-12)
    assert ours.se == pytest.approx(fit.bse[0], rel=1e-10)
    assert ours.df == clusters.max()


def test_unit_values_of_differences_are_differences_of_unit_values() -> None:
    rng = np.random.default_rng(4)
    items = Items(tuple("abcdef"), rng.uniform(1, 9, size=6), np.array([0, 0, 1, 1, 1, 2]))
    a, b = rng.normal(size=6), rng.normal(size=6)
    assert items.unit_values(a) - items.unit_values(b) == pytest.approx(items.unit_values(a - b), abs=1e-12)


def test_unweighted_independent_items_stay_as_they_are() -> None:
    items = Items(tuple("abc"), np.ones(3), None)
    assert items.plain
    assert items.unit_values(np.array([0.0, 1.0, 1.0])).tolist() == pytest.approx([0.0, 1.0, 1.0])


def test_items_are_matched_by_name_and_other_items_are_left_out() -> None:
    first = [Outcome("t", name, "acc", value) for name, value in (("a", 0.0), ("b", 1.0), ("c", 1.0))]
    shuffled = [Outcome("t", name, "acc", value) for name, value in (("c", 0.0), ("a", 1.0), ("b", 1.0))]
    fewer = first[:2]
    cells = [Cell(arm="base"), Cell(arm="x", data="d", seed=0), Cell(arm="y", data="d", seed=0)]
    tables = outcome_tables(zip(cells, (first, shuffled, fewer), strict=True))
    measure = Measure("t", "acc")
    assert tables.raw(measure, "x", "d", (0,)).tolist() == [[1.0, 1.0, 0.0]]
    assert cells[2] not in tables.values[measure]
    assert "y/d/seed-0 was evaluated on other items of t" in tables.notes[0]


def test_base_stands_against_every_seed() -> None:
    rows = [Outcome("t", "a", "acc", 1.0), Outcome("t", "b", "acc", 0.0)]
    tables = outcome_tables([(Cell(arm="base"), rows)])
    assert tables.raw(Measure("t", "acc"), "base", "any", (0, 1)).tolist() == [[1.0, 0.0]] * 2


def test_primary_metric_is_normalised_accuracy_before_accuracy() -> None:
    rows = [Outcome("t", "a", metric, 1.0) for metric in ("acc", "acc_norm")] + [Outcome("u", "a", "zeta", 1.0)]
    tables = outcome_tables([(Cell(arm="base"), rows)])
    assert tables.primary(Measure("t", "acc_norm"))
    assert not tables.primary(Measure("t", "acc"))
    assert tables.primary(Measure("u", "zeta"))
