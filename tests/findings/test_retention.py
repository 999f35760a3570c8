from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from layersig.analysis.retention import ratio_fieller_items, retention_gap_items
from layersig.findings.arms import Arms
from layersig.findings.outcomes import outcome_tables
from layersig.findings.plan import Plan
from layersig.findings.retention import class_rows, gap_rows, retention_rows
from layersig.records import Cell, Outcome
from tests.findings.recipes import FEW, recipe_of

Values = dict[str, list[float]]

RECIPE = recipe_of(FEW, analyze={"same_items": (("choose", "write"),)})
BASE, FEW = Cell(arm="base"), Cell(arm="few", data="d", seed=0)
METRICS = {"choose": "acc", "write": "math_answer", "other": "acc_norm"}
RECORDS: dict[str, dict[str, Any]] = {"choose": {"format": "classification", "constant": 0.25}}


def arms(cells: dict[Cell, Values]) -> Arms:
    found = outcome_tables((cell, outcomes(values)) for cell, values in cells.items())
    return Arms(found, RECIPE, Plan(RECIPE, frozenset()), "m")


def outcomes(values: Values) -> list[Outcome]:
    return [
        Outcome(task, f"i{number}", METRICS[task], value)
        for task, vector in values.items()
        for number, value in enumerate(vector)
    ]


def vector(right: int, n: int = 40) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def test_retention_by_hand() -> None:
    base, few = {"choose": vector(32), "write": vector(20)}, {"choose": vector(24), "write": vector(5)}
    found = arms({BASE: base, FEW: few})
    rows = {row.task: row for row in retention_rows(found, outcomes({"choose": vector(10)}), RECORDS)}
    choose, write = rows["choose"], rows["write"]
    assert (choose.base, choose.value, choose.retention) == pytest.approx((0.8, 0.6, 0.75))
    assert (write.base, write.value, write.retention) == pytest.approx((0.5, 0.125, 0.25))
    assert (choose.format, write.format) == ("classification", "generation")
    # Floor 10 of 40: (0.6 - 0.25) / (0.8 - 0.25).
    assert (choose.floor, choose.room, choose.at_floor, choose.constant) == pytest.approx((0.25, 0.55, False, 0.25))
    assert choose.corrected == pytest.approx(0.35 / 0.55)
    assert (write.floor, write.at_floor, write.corrected) == (None, None, None)
    expected = ratio_fieller_items(np.array(few["choose"]), np.array(base["choose"]))
    assert (choose.low, choose.high) == pytest.approx((expected.low, expected.high))
    means = {row.format: row for row in class_rows(found, tuple(rows.values()))}
    assert (means["classification"].retention, means["generation"].retention) == pytest.approx((0.75, 0.25))
    assert (means["classification"].corrected_tasks, means["generation"].corrected_tasks) == (1, 0)


def test_where_the_base_is_not_clear_of_its_floor_nothing_is_corrected() -> None:
    rng = np.random.default_rng(3)
    base = rng.permutation(vector(14)).tolist()
    floor = rng.permutation(vector(10)).tolist()
    [row] = retention_rows(arms({BASE: {"choose": base}, FEW: {"choose": vector(13)}}), outcomes({"choose": floor}), {})
    assert row.at_floor
    assert row.corrected is None
    assert row.room == pytest.approx(0.1)
    assert (row.room or 0) < 3 * (row.room_se or 0)
    # Four points of room, however sure, are too little as well.
    n = 10_000
    sure = arms({BASE: {"choose": vector(2900, n)}, FEW: {"choose": vector(2800, n)}})
    [row] = retention_rows(sure, outcomes({"choose": vector(2500, n)}), {})
    assert (row.room or 0) > 3 * (row.room_se or 1)
    assert row.at_floor


def test_the_gap_on_the_same_items() -> None:
    rng = np.random.default_rng(5)
    values = {
        name: {task: (rng.uniform(size=200) < share).astype(float).tolist() for task, share in shares.items()}
        for name, shares in {"base": {"choose": 0.8, "write": 0.6}, "few": {"choose": 0.7, "write": 0.2}}.items()
    }
    found = arms({BASE: values["base"], FEW: values["few"]})
    rows = retention_rows(found, outcomes({"choose": vector(50, 200)}), RECORDS)
    tasks, same = gap_rows(found, rows)
    a, b, c, d = (np.array(values[arm][task]) for task in ("choose", "write") for arm in ("few", "base"))
    expected = retention_gap_items(a, b, c, d)
    assert (same.kind, same.n) == ("same items", 200)
    assert (same.gap, same.se) == pytest.approx((expected.value, expected.se))
    assert same.gap == pytest.approx(a.mean() / b.mean() - c.mean() / d.mean())
    assert same.classification_floor == pytest.approx(0.25 / b.mean())
    assert same.generation_floor is None
    # As tasks of their own the same numbers are taken for independent items.
    assert tasks.kind == "tasks"
    assert tasks.gap == pytest.approx(same.gap)
    r1, r2 = a.mean() / b.mean(), c.mean() / d.mean()
    parts = [np.std((x - r * y) / y.mean(), ddof=1) ** 2 / 200 for x, y, r in ((a, b, r1), (c, d, r2))]
    assert tasks.se == pytest.approx(np.sqrt(sum(parts)))


def test_other_items_are_no_contrast_and_a_base_of_nothing_no_ratio() -> None:
    shifted = outcome_tables([(cell, [*outcomes({"choose": vector(20)}), *moved(8)]) for cell in (BASE, FEW)])
    found = Arms(shifted, RECIPE, Plan(RECIPE, frozenset()), "m")
    assert [row.kind for row in gap_rows(found, retention_rows(found, (), {}))] == ["tasks"]
    [row] = retention_rows(arms({BASE: {"write": vector(0)}, FEW: {"write": vector(3)}}), (), {})
    assert (row.retention, row.shape, row.low) == (None, None, None)
    assert class_rows(found, (row,)) == ()


def moved(right: int) -> list[Outcome]:
    return [Outcome("write", f"j{number}", "math_answer", value) for number, value in enumerate(vector(right))]


def test_several_runs_have_no_interval_over_items_alone() -> None:
    cells = {Cell(arm="few", data="d", seed=seed): {"choose": vector(20 + seed)} for seed in (0, 1, 2)}
    found = arms({BASE: {"choose": vector(30)}, **cells})
    rows = retention_rows(found, (), RECORDS)
    assert (rows[0].seeds, rows[0].scope) == (3, "method")
    assert rows[0].retention == pytest.approx(21 / 30)
    [mean] = class_rows(found, rows)
    assert (mean.retention, mean.low, mean.high) == (pytest.approx(0.7), None, None)
