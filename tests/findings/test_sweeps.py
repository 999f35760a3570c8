from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from layersig.analysis.looks import Look
from layersig.analysis.multiplicity import holm
from layersig.findings.arms import Arms
from layersig.findings.conclusions import conclusions
from layersig.findings.outcomes import outcome_tables
from layersig.findings.plan import Plan
from layersig.findings.rows.sweeps import SweepPointRow, SweepRow
from layersig.findings.sweeps import Sweeps
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome
from tests.findings.recipes import recipe_of

XS = (0.1, 0.3, 0.5, 0.8)
SEEDS = (0, 1, 2)


def points(**own: Any) -> list[dict[str, Any]]:
    return [{"name": f"a-{x}", "scorer": "ila", "select": {"kind": "top", "fraction": x}, **own} for x in XS]


def controls(names: Iterable[str] = (), sets: int = 1) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in names or [f"a-{x}" for x in XS]:
        for draw in range(sets):
            select = {"kind": "matched-random", "like": name, "draw": draw}
            found.append({"name": f"{name}.random{draw}", "select": select})
        rule = {"kind": "type-depth", "like": name}
        found.append({"name": f"{name}.rule", "scorer": "ila", "select": rule})
    return found


SWEEP = {
    "name": "a.fraction",
    "quantity": "select.fraction",
    "entries": tuple(f"a-{x}" for x in XS),
    "values": XS,
}


def swept(*arms: dict[str, Any], **more: Any) -> Recipe:
    return recipe_of(*arms, **{"seeds": SEEDS, "sweeps": (SWEEP,), "analyze": {"resamples": 200}, **more})


Mean = Callable[[str, str], float]


def rows_of(found: Sweeps) -> tuple[SweepRow, ...]:
    """The rows as an analysis has them."""
    return conclusions(found.arms).curves


def measured(
    recipe: Recipe,
    mean: Mean,
    tasks: Mapping[str, str] = {"heldout/d": "loss"},
    noise: float = 0.02,
    items: int = 60,
    late: frozenset[str] = frozenset(),
    seeds: tuple[int, ...] = SEEDS,
    of_task: Callable[[str], list[str]] = lambda task: [],
    look: Look | None = None,
) -> Sweeps:
    """What a run would have measured: every arm on every data set and seed, `late` arms without a declaration."""
    rng = np.random.default_rng(5)
    names = ["all-layers", *(arm.name for arm in recipe.arms)]
    common = {task: rng.normal(0, 0.5, items) for task in tasks}
    cells: dict[Cell, list[Outcome]] = {}
    for arm, data, seed in [("base", None, None), *product(names, [d.name for d in recipe.data], seeds)]:
        outcomes = []
        for task, metric in tasks.items():
            values = mean(arm, data or "") + common[task] + noise * (rng.normal() + rng.normal(size=items))
            ids = of_task(task) or [str(number) for number in range(items)]
            outcomes += [Outcome(task, name, metric, float(v)) for name, v in zip(ids, values, strict=True)]
        cells[Cell(arm=arm, data=data, seed=seed)] = outcomes
    plan = Plan(recipe, frozenset(cell for cell in cells if cell.arm not in late))
    return Sweeps(Arms(replace(outcome_tables(cells.items()), look=look), recipe, plan, "m"))


def fraction(arm: str) -> float:
    return float(arm.split("-")[1].split(".r")[0]) if arm.startswith("a-") else {"all-layers": 1.0}.get(arm, 0.0)


def valley(arm: str, _: str) -> float:
    """A loss that is lowest at 0.5; controls are worse by 0.1."""
    worse = 0.1 if "random" in arm else 0.05 if "rule" in arm else 0.0
    return 2 + (fraction(arm) - 0.5) ** 2 + worse


def one(rows: Iterable[SweepRow], **keys: Any) -> SweepRow:
    (found,) = [row for row in rows if all(getattr(row, key) == value for key, value in keys.items())]
    return found


def test_the_optimum_is_where_it_was_planted_and_its_interval_excludes_the_rest() -> None:
    row = one(rows_of(measured(swept(*points()), valley, noise=0.005)))
    assert (row.best, row.best_low, row.best_high, row.best_points) == (0.5, 0.5, 0.5, 1)
    assert (row.points, row.x_low, row.x_high) == (5, 0.1, 1.0), "all layers are the point at 1"
    assert "the best of these points is in 0.5 (1 of 5 points)" in row.sentence
    noisy = one(rows_of(measured(swept(*points(), seeds=(0, 1)), valley, noise=1, seeds=(0, 1))))
    assert noisy.best_points == 5
    assert "does not tell where the optimum is" in noisy.sentence


@pytest.mark.parametrize(("slope", "words"), [(-0.5, "falls with"), (0.5, "rises with"), (0.0, "shows no trend over")])
def test_the_trend_is_said_as_it_is(slope: float, words: str) -> None:
    found = measured(swept(*points()), lambda arm, _: 2 + slope * fraction(arm), noise=0.05)
    row = one(rows_of(found))
    assert f" {words} select.fraction" in row.sentence
    assert row.slope is not None
    means = [2 + slope * x for x in (*XS, 1.0)]
    assert row.slope == pytest.approx(np.polyfit(range(5), means, 1)[0], abs=0.08)
    assert (row.adjusted_p or 1) <= 0.05 if slope else (row.adjusted_p or 0) > 0.05


def test_a_sweep_of_the_outcome_is_declared_unless_a_point_was_measured_before_it_was() -> None:
    recipe = swept(*points())
    assert one(rows_of(measured(recipe, valley))).sentence.startswith("Declared: loss of heldout/d")
    row = one(rows_of(measured(recipe, valley, late=frozenset({"a-0.3"}))))
    assert not row.declared
    assert row.sentence.startswith("Exploratory: ")
    other = swept(*points(), analyze={"outcome": "quiz", "resamples": 200})
    rows = list(rows_of(measured(other, valley, {"heldout/d": "loss", "quiz": "acc"})))
    assert {row.task: (row.outcome, row.declared) for row in rows} == {
        "heldout/d": (False, False),
        "quiz": (True, True),
    }


def test_controls_are_curves_beside_the_arm_and_never_its_optimum() -> None:
    found = measured(swept(*points(), *controls(sets=3)), valley)
    series: dict[str, list[SweepPointRow]] = {}
    for row in found.point_rows():
        series.setdefault(row.series, []).append(row)
    assert [row.x for row in series["arm"]] == [*XS, 1.0]
    for name, worse, sets in (("random control", 0.1, 3), ("rule control", 0.05, 1)):
        assert [row.x for row in series[name]] == list(XS)
        assert {row.sets for row in series[name]} == {sets}
        assert all(row.in_best_set is None for row in series[name])
        for control, arm in zip(series[name], series["arm"], strict=False):
            assert control.value - arm.value == pytest.approx(worse, abs=0.05)
    rows = list(rows_of(found))
    assert [row.against for row in rows] == [None, "random control", "rule control"]
    assert [row.declared for row in rows] == [True, False, False]
    assert all(row.best is None for row in rows[1:])


def test_an_advantage_that_shrinks_is_a_trend_of_the_difference() -> None:
    def mean(arm: str, _: str) -> float:
        return 2 - (0.3 * (1 - fraction(arm)) if "random" not in arm and arm != "base" else 0.0)

    rows = rows_of(measured(swept(*points(), *controls()), mean))
    row = one(rows, against="random control")
    assert row.slope is not None
    assert row.slope > 0
    assert (row.adjusted_p or 1) < 0.05
    assert "the difference from the random control in loss of heldout/d rises with" in row.sentence


def test_higher_is_better_turns_the_optimum_and_not_the_trend() -> None:
    recipe = swept(*points(), analyze={"outcome": "quiz", "resamples": 200})
    found = measured(recipe, lambda arm, _: 0.5 - (fraction(arm) - 0.3) ** 2, {"quiz": "rouge_l"})
    row = one(rows_of(found))
    assert (row.best, row.best_low, row.best_high) == (0.3, 0.3, 0.3)
    assert row.slope is not None
    assert row.slope < 0


def test_declared_trends_are_corrected_with_all_that_is_declared() -> None:
    recipe = swept(
        *points(),
        data=({"name": "d", "source": "pypi:y"}, {"name": "e", "source": "pypi:z"}),
        analyze={"outcome": "quiz", "resamples": 200},
    )
    tasks = {"heldout/d": "loss", "heldout/e": "loss", "quiz": "acc", "other": "acc"}
    found = conclusions(measured(recipe, valley, tasks, noise=0.5).arms)
    for declared in (True, False):
        family = [row for row in found.curves if row.declared is declared]
        assert len(family) == (2 if declared else 6)
        beside = [row.p for row in (*found.comparisons,) if row.declared] if declared else []
        beside += [max(row.assay_p, row.keeps_p or 0.0) for row in found.claims if row.declared] if declared else []
        expected = holm(np.array([*(row.p for row in family), *beside], dtype=float))[: len(family)]
        assert [row.adjusted_p for row in family] == pytest.approx(expected.tolist())


@pytest.mark.parametrize(
    ("own", "more", "end"),
    [
        ({}, {}, 1.0),
        ({"action": "graft"}, {}, 1.0),
        ({"train": {"epochs": 2}}, {}, None),
        ({"select": {"kind": "freeze", "fraction": 0.2}}, {}, 0.0),
        ({"select": {"kind": "lowest", "fraction": 0.2}, "action": "prune"}, {"baseline": "base"}, 0.0),
        ({"select": {"kind": "lowest", "fraction": 0.2}, "action": "prune", "recover": {}}, {}, None),
        ({"select": {"kind": "lowest", "fraction": 0.2}}, {}, None),
    ],
)
def test_the_end_that_every_study_has_joins_where_it_is_one(
    own: dict[str, Any], more: dict[str, Any], end: float | None
) -> None:
    recipe = swept(*points(**own), analyze={"resamples": 200, **more})
    found = [row.x for row in measured(recipe, valley).point_rows()]
    assert found == ([*XS] if end is None else sorted([*XS, end]))


def test_points_that_are_missing_and_seeds_that_not_all_have_are_left_out() -> None:
    whole = measured(swept(*points()), valley)
    values = whole.arms.outcomes.values
    (measure,) = values
    kept = {
        cell: table
        for cell, table in values[measure].items()
        if cell.arm != "a-0.8" and (cell.arm, cell.seed) != ("a-0.1", 2)
    }
    values[measure].clear()  # type: ignore[attr-defined]
    values[measure].update(kept)  # type: ignore[attr-defined]
    row = one(rows_of(whole))
    assert (row.points, row.seeds) == (4, 2)


def test_one_run_a_point_speaks_of_checkpoints() -> None:
    row = one(rows_of(measured(swept(*points(), seeds=(0,)), valley, seeds=(0,))))
    assert row.scope == "checkpoints"
    assert "this is about these checkpoints" in row.sentence


def test_everything_that_is_said_of_a_sweep_allows_for_the_declared_looks() -> None:
    runs = (0, 1)
    plain, first = (
        measured(swept(*points(), *controls(), seeds=runs), valley, noise=0.1, seeds=runs, look=look)
        for look in (None, Look((2, 5), 1))
    )
    for one, other in zip(rows_of(plain), rows_of(first), strict=True):
        assert (one.slope, one.level) == (other.slope, other.level)
        assert (other.p or 0) > (one.p or 1)
        assert (other.low or 0) < (one.low or 0) < (one.high or 0) < (other.high or 0)
        # The interval leaves 0 out exactly where the test rejects.
        assert ((other.low or 0) <= 0 <= (other.high or 0)) is ((other.p or 0) > 1 - other.level)
        if one.against is None:
            assert (one.best_points or 0) < (other.best_points or 0)
    for before, after in zip(plain.point_rows(), first.point_rows(), strict=True):
        assert (after.low or 0) < (before.low or 0) < (before.high or 0) < (after.high or 0)


def test_a_difference_from_a_control_in_a_few_right_answers_is_no_trend() -> None:
    names = ("a-0.1", "a-0.3")
    sweep = {**SWEEP, "entries": names, "values": XS[:2]}
    recipe = swept(*points()[:2], *controls(names), seeds=(0,), sweeps=(sweep,), analyze={"outcome": "quiz"})
    cells = {}
    for arm in ("base", "all-layers", *(each.name for each in recipe.arms)):
        solved = [float(n % 2 or (arm == "a-0.3" and n < 8)) for n in range(60)]  # it alone solves four more
        cell = Cell(arm=arm) if arm == "base" else Cell(arm=arm, data="d", seed=0)
        cells[cell] = [Outcome("quiz", str(n), "acc", value) for n, value in enumerate(solved)]
    arms = Arms(outcome_tables(cells.items()), recipe, Plan(recipe, frozenset(cells)), "m")
    for role in ("random control", "rule control"):
        row = one(Sweeps(arms).rows([None] * len(Sweeps(arms).members)), against=role)
        assert row.slope == pytest.approx(4 / 60)
        assert (row.p or 0) > 0.1, "of four items, the exact test of signs has p = .125"


DATA = tuple({"name": f"c-{n}", "source": "pypi:y", "limit": n} for n in (100, 200, 400))
OF_DATA = {
    "name": "c.limit",
    "of": "data",
    "quantity": "limit",
    "entries": ("c-100", "c-200", "c-400"),
    "values": (100, 200, 400),
}


def of_data(**more: Any) -> Recipe:
    arm = {"name": "few", "scorer": "ila", "select": {"kind": "top", "fraction": 0.3}}
    return recipe_of(arm, *controls(["few"]), **{"seeds": SEEDS, "data": DATA, "sweeps": (OF_DATA,), **more})


def grows(arm: str, data: str) -> float:
    size = float(data.removeprefix("c-")) if data.startswith("c-") else 0.0
    return 0.3 + size / 2000 - (0.1 if "random" in arm else 0.0)


TASKS = {"heldout/c-100": "loss", "heldout/c-200": "loss", "heldout/c-400": "loss", "quiz": "rouge_l"}


def test_data_sets_that_vary_make_a_curve_of_every_arm_beside_its_controls() -> None:
    recipe = of_data(analyze={"outcome": "quiz", "resamples": 200})
    found = measured(recipe, grows, TASKS, of_task=lambda task: [f"{task}{n}" for n in range(60)])
    rows = [row for row in rows_of(found) if row.against is None]
    assert [(row.arm, row.data, row.task, row.best, row.declared) for row in rows] == [
        ("all-layers", None, "quiz", 400.0, True),
        ("few", None, "quiz", 400.0, True),
    ]
    assert [row.x for row in found.point_rows() if (row.arm, row.series) == ("few", "arm")] == [100, 200, 400]
    control = [row.value for row in found.point_rows() if row.series == "random control"]
    assert control == pytest.approx([0.25, 0.3, 0.4], abs=0.1)
    (note,) = found.notes()
    assert note.startswith("Sweep c.limit: held-out losses are left out")


def test_held_out_losses_count_where_all_sets_hold_out_the_same() -> None:
    found = measured(of_data(), grows, TASKS)
    tasks = {row.task for row in rows_of(found)}
    assert tasks == {"heldout/c-100", "quiz"}
    assert {row.task for row in rows_of(found) if row.declared} == {"heldout/c-100"}
    assert found.notes() == ()


def test_the_band_is_of_the_difference_from_the_untouched_model() -> None:
    found = [row for row in measured(swept(*points()), valley).point_rows() if row.series == "arm"]
    base = valley("base", "")
    for row, x in zip(found, (*XS, 1.0), strict=True):
        assert row.difference is not None
        assert row.low is not None
        assert row.high is not None
        assert row.difference == pytest.approx((x - 0.5) ** 2 + 2 - base, abs=0.05)
        assert row.low < row.difference < row.high
        assert row.high - row.low < 0.5, "what items share with the untouched model cancels"
