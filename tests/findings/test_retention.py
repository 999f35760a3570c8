from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.floors import RATIO_OF_LEVELS
from layersig.analysis.retention import RatioPart, difference_of_ratios, ratio_of_tables
from layersig.findings.arms import Arms
from layersig.findings.outcomes import outcome_tables
from layersig.findings.plan import Plan
from layersig.records import Cell, Outcome
from layersig.topics.retention.compute import class_rows, gap_rows, retention_rows
from tests.findings.recipes import FEW, recipe_of

Values = dict[str, list[float]]

RECIPE = recipe_of(FEW, analyze={"same_items": (("choose", "write"),)})
BASE, FEW = Cell(arm="base"), Cell(arm="few", data="d", seed=0)
METRICS = {"choose": "acc", "write": "math_answer", "other": "acc_norm", "summary": "rouge_l"}
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
    tables = np.array([few["choose"]]), np.array([base["choose"]])
    expected = ratio_of_tables(*tables, added=RATIO_OF_LEVELS)
    assert (choose.low, choose.high) == pytest.approx((expected.low, expected.high))
    means = {row.format: row for row in class_rows(found, tuple(rows.values()))}
    assert (means["classification"].retention, means["generation"].retention) == pytest.approx((0.75, 0.25))
    assert (means["classification"].corrected_tasks, means["generation"].corrected_tasks) == (1, 0)


def test_guessing_keeps_the_mean_of_constant_over_base_where_every_constant_is_known() -> None:
    base, few = {"choose": vector(32), "other": vector(20)}, {"choose": vector(24), "other": vector(5)}
    found = arms({BASE: base, FEW: few})
    for records, due in (
        ({**RECORDS, "other": {"format": "classification", "constant": 0.4}}, (0.25 / 0.8 + 0.4 / 0.5) / 2),
        (RECORDS, None),
    ):
        (mean,) = class_rows(found, retention_rows(found, (), records))
        assert mean.constant == (None if due is None else pytest.approx(due))


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
    expected = difference_of_ratios(*(RatioPart(x[None], y[None], 1.0, RATIO_OF_LEVELS) for x, y in ((a, b), (c, d))))
    assert expected is not None
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
    assert tasks.se == pytest.approx(np.sqrt(sum(parts)), rel=0.03)


def test_other_items_are_no_contrast_and_a_base_of_nothing_no_ratio() -> None:
    shifted = outcome_tables([(cell, [*outcomes({"choose": vector(20)}), *moved(8)]) for cell in (BASE, FEW)])
    found = Arms(shifted, RECIPE, Plan(RECIPE, frozenset()), "m")
    assert [row.kind for row in gap_rows(found, retention_rows(found, (), {}))] == ["tasks"]
    [row] = retention_rows(arms({BASE: {"write": vector(0)}, FEW: {"write": vector(3)}}), (), {})
    assert (row.retention, row.shape, row.low) == (None, None, None)
    assert class_rows(found, (row,)) == ()


def moved(right: int) -> list[Outcome]:
    return [Outcome("write", f"j{number}", "math_answer", value) for number, value in enumerate(vector(right))]


def test_several_runs_give_classes_and_gaps_an_interval_over_runs_and_items() -> None:
    rng = np.random.default_rng(9)
    base = {task: (rng.uniform(size=300) < 0.7).astype(float).tolist() for task in ("choose", "write")}
    shifts = 0.15 * rng.normal(size=5)
    cells = {
        Cell(arm="few", data="d", seed=seed): {
            task: (np.array(values) * (rng.uniform(size=300) < kept + shift)).tolist()
            for (task, values), kept in zip(base.items(), (0.8, 0.5), strict=True)
        }
        for seed, shift in enumerate(shifts)
    }
    found = arms({BASE: base, **cells})
    rows = retention_rows(found, (), RECORDS)
    assert {(row.seeds, row.scope) for row in rows} == {(5, "method")}
    runs = np.array([[np.mean(cell[task]) / np.mean(base[task]) for cell in cells.values()] for task in base])
    for row, kept in zip(class_rows(found, rows), runs, strict=True):
        assert row.retention == pytest.approx(kept.mean())
        assert (row.seeds, row.scope) == (5, "method")
        half = stats.t.ppf(0.975, 4) * kept.std(ddof=1) / 5**0.5
        assert row.low is not None
        assert row.high is not None
        assert (row.high - row.low) / 2 == pytest.approx(half, rel=0.25)
    for gap in gap_rows(found, rows):
        # What a run does to both cancels in the gap.
        assert gap.gap == pytest.approx((runs[0] - runs[1]).mean())
        assert (gap.seeds, gap.scope) == (5, "method")
        assert gap.se is not None
        assert gap.se < 0.7 * runs[0].std(ddof=1) / 5**0.5 * 2**0.5


def test_tasks_measured_on_other_runs_have_a_mean_without_an_interval() -> None:
    cells = {Cell(arm="few", data="d", seed=seed): {"choose": vector(20 + seed)} for seed in (0, 1, 2)}
    cells[Cell(arm="few", data="d", seed=0)]["other"] = vector(10)
    found = arms({BASE: {"choose": vector(30), "other": vector(20)}, **cells})
    [mean] = class_rows(found, retention_rows(found, (), RECORDS))
    assert mean.retention == pytest.approx((21 / 30 + 0.5) / 2)
    assert (mean.low, mean.high) == (None, None)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize(("base", "few"), [(24, 0), (40, 40), (24, 24), (40, 0)])
def test_what_does_not_vary_is_kept_with_an_error(base: int, few: int, seeds: tuple[int, ...]) -> None:
    cells = {Cell(arm="few", data="d", seed=seed): {"choose": vector(few)} for seed in seeds}
    found = arms({BASE: {"choose": vector(base)}, **cells})
    rows = retention_rows(found, outcomes({"choose": vector(0)}), RECORDS)
    [row], [mean] = rows, class_rows(found, rows)
    assert row.retention == few / base
    assert row.room_se is not None
    assert row.room_se > 0.01
    for low, high in ((row.low, row.high), (row.corrected_low, row.corrected_high), (mean.low, mean.high)):
        assert low is not None
        assert high is not None
        assert high - low > 0.05
        assert low <= few / base <= high


def test_grades_that_are_kept_without_variation_have_no_set() -> None:
    values = np.linspace(0.1, 0.9, 30)
    found = arms({BASE: {"summary": values.tolist()}, FEW: {"summary": (values / 3).tolist()}})
    rows = retention_rows(found, (), RECORDS)
    [row], [mean] = rows, class_rows(found, rows)
    assert row.retention == pytest.approx(1 / 3)
    assert (row.shape, row.low, row.high) == (None, None, None)
    assert row.no_interval is not None
    assert "nothing varies" in row.no_interval
    assert (mean.low, mean.high) == (None, None)
