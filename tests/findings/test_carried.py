from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from layersig.analysis.multiplicity import holm
from layersig.analysis.twoway import mean_squares, two_way_estimate
from layersig.findings.arms import Arms
from layersig.findings.outcomes import outcome_tables
from layersig.findings.plan import Plan
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome
from layersig.topics.carried.compute import carried_rows
from layersig.topics.carried.rows import CarriedRow
from tests.findings.recipes import recipe_of

DATA = ("code", "math", "chat")
SEEDS = (0, 1, 2)


def arm(ranked_on: str, **own: Any) -> dict[str, Any]:
    select = {"kind": "top", "fraction": 0.3}
    return {"name": f"of-{ranked_on}", "scorer": "ila", "ranked_on": ranked_on, "select": select, **own}


def recipe(*arms: dict[str, Any]) -> Recipe:
    data = tuple({"name": name, "source": "pypi:y"} for name in DATA)
    return recipe_of(*arms, seeds=SEEDS, data=data, analyze={"resamples": 200})


def measured(found: Recipe, mean: Callable[[str, str], float], noise: float = 0.02) -> Arms:
    rng = np.random.default_rng(6)
    common = rng.normal(0, 1, 50)
    cells: dict[Cell, list[Outcome]] = {}
    for name, data, seed in product([each.name for each in found.arms], DATA, SEEDS):
        values = mean(name, data) + common + noise * rng.normal(size=50)
        cells[Cell(arm=name, data=data, seed=seed)] = [
            Outcome(task, str(number), "loss", float(value))
            for task in (f"heldout/{data}", "quiz")
            for number, value in enumerate(values)
        ]
    return Arms(outcome_tables(cells.items()), found, Plan(found, frozenset(cells)), "m")


def own_is_best(name: str, data: str) -> float:
    return 2.0 if name == f"of-{data}" else 2.1 + 0.05 * DATA.index(data)


def test_every_cell_is_compared_with_the_own_ranking_of_its_column() -> None:
    rows = list(carried_rows(measured(recipe(*map(arm, DATA)), own_is_best)))
    quiz = {(row.ranked_on, row.data): row for row in rows if row.task == "quiz"}
    assert set(quiz) == set(product(DATA, DATA))
    for (ranked_on, data), row in quiz.items():
        assert row.own == f"of-{data}"
        if ranked_on == data:
            assert (row.difference, row.p, row.arm) == (None, None, row.own)
        else:
            assert row.difference == pytest.approx(0.1 + 0.05 * DATA.index(data), abs=0.02)
            assert (row.adjusted_p or 1) < 0.05
    held = {(row.ranked_on, row.data) for row in rows if row.task == "heldout/code"}
    assert held == {(name, "code") for name in DATA}
    assert {(row.task, row.data) for row in rows if row.outcome} == {(f"heldout/{name}", name) for name in DATA}


def test_the_test_is_the_two_way_one_and_the_correction_is_over_the_matrix() -> None:
    arms = measured(recipe(*map(arm, DATA)), lambda *_: 2.0, noise=0.5)
    rows = list(carried_rows(arms))
    tested = [row for row in rows if row.p is not None]
    assert {row.family_size for row in tested} == {len(tested)}
    assert [row.adjusted_p for row in tested] == pytest.approx(holm(np.array([row.p for row in tested])).tolist())
    row = next(each for each in tested if (each.task, each.ranked_on, each.data) == ("quiz", "math", "code"))
    values = arms.outcomes.values[next(m for m in arms.outcomes.values if m.task == "quiz")]
    table = np.stack(
        [
            values[Cell(arm="of-math", data="code", seed=s)] - values[Cell(arm="of-code", data="code", seed=s)]
            for s in SEEDS
        ]
    )
    expected = two_way_estimate(mean_squares(table))
    assert [row.difference, row.p] == pytest.approx([expected.value, expected.p_value()])


@pytest.mark.parametrize(
    "arms",
    [
        [arm("code")],
        [arm("code"), arm("math", train={"epochs": 2})],
        [arm("code"), arm("math", select={"kind": "top", "fraction": 0.5})],
        [arm("code"), {**arm("math"), "ranked_on": ("math", "chat"), "select": {"kind": "union", "fraction": 0.3}}],
        [{**arm("code"), "ranked_on": None}, {**arm("math"), "ranked_on": None}],
    ],
    ids=["one", "other training", "other size", "several rankings", "no other data"],
)
def test_arms_that_differ_in_more_are_no_matrix(arms: list[dict[str, Any]]) -> None:
    assert list(carried_rows(measured(recipe(*arms), lambda *_: 2.0))) == []


def test_a_data_set_without_an_own_ranking_has_no_column() -> None:
    rows: list[CarriedRow] = list(carried_rows(measured(recipe(arm("code"), arm("math")), own_is_best)))
    assert {row.data for row in rows} == {"code", "math"}


def test_controls_of_an_arm_do_not_join_its_matrix() -> None:
    rule = {**arm("code"), "name": "rule", "select": {"kind": "type-depth", "like": "of-code"}}
    other = {**arm("math"), "name": "rule-2", "select": {"kind": "type-depth", "like": "of-math"}}
    rows = list(carried_rows(measured(recipe(arm("code"), arm("math"), rule, other), own_is_best)))
    assert {row.arm for row in rows} == {"of-code", "of-math"}
