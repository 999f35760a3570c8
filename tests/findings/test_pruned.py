"""Curves over blocks removed, recovery and failures, against numbers worked out by hand or another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.floors import RATIO_OF_LEVELS
from layersig.analysis.retention import ratio_of_tables
from layersig.findings.arms import Arms
from layersig.findings.files import RunFiles, Selected
from layersig.findings.outcomes import outcome_tables
from layersig.findings.plan import Plan
from layersig.findings.responses import Responses, group_responses
from layersig.jsonform import jsonl
from layersig.layers import Layer, LayerMap, Part
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome, Selection
from layersig.topics.failures.compute import EXAMPLES, failure_rows
from layersig.topics.recovery.compute import recovery_rows
from layersig.topics.recovery.rows import RecoveryRow
from layersig.topics.removal.compute import removal_rows
from layersig.topics.retention.compute import class_rows, retention_rows
from tests.findings.recipes import recipe_of
from tests.manifests import manifest

N, DEPTH = 80, 10
LAYERS = LayerMap(
    tuple(Layer(f"b.{block}.up", block, "up", Part.MLP, 4, (2, 2)) for block in range(DEPTH)),
    tuple(f"b.{block}" for block in range(DEPTH)),
    True,
)


def pruning(name: str, count: int, **more: Any) -> dict[str, Any]:
    select = {"kind": "lowest", "count": count, **more.pop("select", {})}
    return {"name": name, "scorer": "ila", "select": select, "action": "prune", **more}


def arms_of(recipe: Recipe, values: dict[Cell, dict[str, np.ndarray]]) -> Arms:
    metrics = {"choose": "acc", "write": "math_answer", "sum": "exact_match"}
    tables = outcome_tables(
        (
            cell,
            [Outcome(t, f"i{n}", metrics[t], float(v)) for t, vector in own.items() for n, v in enumerate(vector)],
        )
        for cell, own in values.items()
    )
    return Arms(tables, recipe, Plan(recipe, frozenset()), "m")


def selected(arm: str, blocks: int, seed: int | None = None) -> Selected:
    return Selected(Cell(arm=arm, data="d", seed=seed), Selection(tuple(f"b.{n}.up" for n in range(blocks)), 1))


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_a_curve_is_of_arms_that_differ_in_the_number_of_blocks_alone(seeds: tuple[int, ...]) -> None:
    recipe = recipe_of(
        pruning("one", 1),
        pruning("three", 3),
        pruning("half", 5),
        pruning("three-trained", 3, recover={}),
        pruning("spared", 2, select={"protect": (0,)}),
        seeds=seeds,
        layers={"unit": "block"},
    )
    rng = np.random.default_rng(2)
    base = {task: (rng.uniform(size=N) < 0.8).astype(float) for task in ("choose", "write", "sum")}
    sizes = {"one": 1, "three": 3, "half": 5, "three-trained": 3, "spared": 2}
    values = {Cell(arm="base"): base} | {
        Cell(arm=arm, data="d", seed=seed): {
            task: vector * (rng.uniform(size=N) < 1 - 0.12 * blocks) for task, vector in base.items()
        }
        for arm, blocks in sizes.items()
        for seed in seeds
    }
    arms = arms_of(recipe, values)
    kept = retention_rows(arms, (), {})
    rows = list(
        removal_rows(arms, kept, class_rows(arms, kept), [selected(arm, k) for arm, k in sizes.items()], LAYERS)
    )
    assert {(row.series, row.arm, row.removed, row.of) for row in rows} == {
        ("ila", "one", 1, 10),
        ("ila", "three", 3, 10),
        ("ila", "half", 5, 10),
    }
    by_task = [row for row in rows if row.task == "choose"]
    assert [row.removed for row in by_task] == [1, 3, 5]
    for row in by_task:
        own = np.stack([values[Cell(arm=row.arm, data="d", seed=seed)]["choose"] for seed in seeds])
        whole = np.broadcast_to(base["choose"], own.shape)
        assert row.retention == pytest.approx(own.mean() / whole.mean())
        expected = ratio_of_tables(own, whole, 1 - 0.05 / 3, None, RATIO_OF_LEVELS)
        assert (row.band_low, row.band_high) == pytest.approx((max(0, expected.low), expected.high))
        assert (row.points, row.seeds) == (3, len(seeds))
    means = [row for row in rows if row.task is None]
    assert [(row.format, row.removed) for row in means] == [("generation", 1), ("generation", 3), ("generation", 5)]
    for row in means:
        parts = [each.retention for each in rows if each.arm == row.arm and each.task in ("write", "sum")]
        assert row.retention == pytest.approx(np.mean(parts))
        assert row.band_low is not None
        assert row.low is not None
        assert row.band_low < row.low


@pytest.mark.parametrize(
    ("others", "series"),
    [
        ([pruning("a", 2), pruning("b", 2, recover={})], set()),
        ([pruning("a", 2, recover={}), pruning("b", 3, recover={"epochs": 1})], set()),
        (
            [pruning("a", 2, recover={"epochs": 1}), pruning("b", 3, recover={"epochs": 1})],
            {"ila, recovered (epochs = 1)"},
        ),
        (
            [pruning("a", 2, select={"protect": (0,)}), pruning("b", 3, select={"protect": (0,)})],
            {"ila, protect = [0]"},
        ),
        (
            [
                pruning("a", 2),
                {"name": "a.random", "select": {"kind": "matched-random", "like": "a"}, "action": "prune"},
                pruning("b", 3),
                {"name": "b.random", "select": {"kind": "matched-random", "like": "b"}, "action": "prune"},
            ],
            {"ila", "matched-random"},
        ),
    ],
)
def test_what_else_differs_makes_another_curve(others: list[dict[str, Any]], series: set[str]) -> None:
    recipe = recipe_of(*others, layers={"unit": "block"})
    rng = np.random.default_rng(3)
    names = [arm["name"] for arm in others]
    cells = [Cell(arm="base"), *(Cell(arm=name, data="d", seed=0) for name in names)]
    arms = arms_of(recipe, {cell: {"choose": (rng.uniform(size=N) < 0.6).astype(float)} for cell in cells})
    kept = retention_rows(arms, (), {})
    chosen = [selected(name, 2 if name.startswith("a") else 3) for name in names]
    assert {row.series for row in removal_rows(arms, kept, class_rows(arms, kept), chosen, LAYERS)} == series
    assert list(removal_rows(arms, kept, (), chosen, None)) == []


def wrote(arm: str, *runs: list[dict[str, Any]], seeds: tuple[int, ...] = ()) -> Responses:
    if arm == "base":
        return Responses(arm, None, "write", (None,), tuple(map(tuple, runs)))
    return Responses(arm, "d", "write", seeds or tuple(range(len(runs))), tuple(map(tuple, runs)))


def line(item: int, rep: float | None, error: str) -> dict[str, Any]:
    probes = {} if rep is None else {"rep": rep}
    return {"task": "write", "item": f"i{item}", "probes": probes, "code": {"error": error, "paper_error": error}}


def test_recovery_is_the_difference_on_the_same_items() -> None:
    recipe = recipe_of(
        pruning("cut", 2), pruning("cured", 2, recover={}), pruning("other", 3, recover={}), layers={"unit": "block"}
    )
    rng = np.random.default_rng(4)
    values = {
        cell: {"write": (rng.uniform(size=N) < share).astype(float)}
        for cell, share in (
            (Cell(arm="base"), 0.9),
            (Cell(arm="cut", data="d", seed=0), 0.2),
            (Cell(arm="cured", data="d", seed=0), 0.6),
            (Cell(arm="other", data="d", seed=0), 0.5),
        )
    }
    before, after = rng.uniform(0.5, 0.9, N), rng.uniform(0.0, 0.2, N)
    texts = [
        wrote("base", [line(n, 0.1, "none") for n in range(N)]),
        wrote("cut", [line(n, None if n == 5 else before[n], "bracket" if n < 20 else "none") for n in range(N)]),
        wrote("cured", [line(n, after[n], "bracket" if n < 4 else "none") for n in range(N)]),
    ]
    rows: dict[str, RecoveryRow] = {row.quantity: row for row in recovery_rows(arms_of(recipe, values), texts)}
    assert set(rows) == {"math_answer", "rep", "bracket"}
    assert {(row.pruned, row.recovered) for row in rows.values()} == {("cut", "cured")}
    own = np.delete(after - before, 5)
    interval = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    rep = rows["rep"]
    assert (rep.difference, rep.low, rep.high) == pytest.approx((own.mean(), interval.low, interval.high))
    assert rep.n == N - 1
    assert rep.untouched == pytest.approx(0.1)
    bracket = rows["bracket"]
    assert (bracket.before, bracket.after, bracket.untouched) == (0.25, 0.05, 0.0)
    assert bracket.high is not None
    assert bracket.high < 0
    metric = rows["math_answer"]
    scores = [values[Cell(arm=arm, data="d", seed=0)]["write"].mean() for arm in ("cut", "cured")]
    assert (metric.before, metric.after, metric.difference) == pytest.approx((*scores, scores[1] - scores[0]))


def test_recovery_pairs_what_one_seed_wrote_before_and_after() -> None:
    recipe = recipe_of(pruning("cut", 2), pruning("cured", 2, recover={}), layers={"unit": "block"}, seeds=(0, 1, 2))
    own = {0: 0.1, 1: 0.4, 2: 0.8}

    def run(seed: int, gained: float) -> list[dict[str, Any]]:
        return [line(n, own[seed] + gained + n / 1000, "none") for n in range(N)]

    cells = [Cell(arm="base"), *(Cell(arm=arm, data="d", seed=0) for arm in ("cut", "cured"))]
    arms = arms_of(recipe, {cell: {"write": np.zeros(N)} for cell in cells})
    for seeds, common in (((0, 1), 1), ((0, 1, 2), 2)):
        texts = [
            wrote("cut", *(run(seed, 0.0) for seed in (0, 2)), seeds=(0, 2)),
            wrote("cured", *(run(seed, 0.05) for seed in seeds), seeds=seeds),
        ]
        (rep,) = [row for row in recovery_rows(arms, texts) if row.quantity == "rep"]
        assert rep.difference == pytest.approx(0.05)
        assert (rep.seeds, rep.scope) == (common, "checkpoints" if common == 1 else "method")
    apart = [wrote("cut", run(0, 0.0)), wrote("cured", run(1, 0.0), seeds=(1,))]
    assert [row.quantity for row in recovery_rows(arms, apart)] == ["math_answer"]


def test_an_item_counts_once_with_the_mean_of_its_draws() -> None:
    recipe = recipe_of(pruning("cut", 2), pruning("cured", 2, recover={}), layers={"unit": "block"})
    cells = [Cell(arm="base"), *(Cell(arm=arm, data="d", seed=0) for arm in ("cut", "cured"))]
    arms = arms_of(recipe, {cell: {"write": np.zeros(N)} for cell in cells})
    rng = np.random.default_rng(7)
    draws = {arm: rng.uniform(size=(N, 3)) for arm in ("cut", "cured")}
    texts = [
        wrote(arm, [line(n, value, "none") for n, own in enumerate(values) for value in own])
        for arm, values in draws.items()
    ]
    (rep,) = [row for row in recovery_rows(arms, texts) if row.quantity == "rep"]
    own = draws["cured"].mean(axis=1) - draws["cut"].mean(axis=1)
    interval = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    assert rep.n == N
    assert (rep.difference, rep.low, rep.high) == pytest.approx((own.mean(), interval.low, interval.high))


def test_what_models_wrote_keeps_its_seed() -> None:
    cells = [Cell(arm="base"), *(Cell(arm="cut", data="d", seed=seed) for seed in (0, 2))]
    base, cut = group_responses((cell, [line(number, 0.0, "none")]) for number, cell in enumerate(cells))
    assert (base.seeds, cut.seeds) == ((None,), (0, 2))
    assert [run[0]["item"] for run in cut.of((2, 0)).runs] == ["i2", "i1"]
    assert base.of((0, 2)).runs == (*base.runs, *base.runs)


def answered(folder: Path, arm: str, right: list[int], *, task: str = "write", long: bool = False) -> list[Outcome]:
    path = folder / "evaluations" / arm
    path.mkdir(parents=True)
    rows = [
        {
            "task": task,
            "item": f"i{n}",
            "question": f"What is {n}?",
            "target": n,
            "response": f"{arm.partition('/')[0]} says {n}" + " and on" * (900 if long else 0),
            "finish": "length",
            "scores": {"math_answer": float(value)},
            "probes": {},
        }
        for n, value in enumerate(right)
    ]
    (path / "responses.jsonl").write_text(jsonl(rows))
    return [Outcome(task, f"i{n}", "math_answer", float(value)) for n, value in enumerate(right)]


def test_failures_are_counted_and_drawn_by_the_seed(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, **manifest()}))
    base = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    runs = {0: [0, 0, 0, 0, 0, 1, 1, 1, 0, 0], 1: [1, 0, 0, 1, 1, 1, 1, 0, 0, 0]}
    outcomes = {Cell(arm="base"): answered(tmp_path, "base", base)}
    for seed, right in runs.items():
        outcomes[Cell(arm="cut", data="d", seed=seed)] = answered(tmp_path, f"cut/d/seed-{seed}", right, long=True)
    tables = outcome_tables(outcomes.items())
    (row,), examples = failure_rows(RunFiles(tmp_path), tables, 0)
    assert (row.both, row.lost, row.gained, row.neither, row.seeds) == (7, 7, 1, 5, 2)
    assert len(examples) == EXAMPLES
    for each in examples:
        number = int(each.item.removeprefix("i"))
        assert each.seed is not None
        assert (base[number], runs[each.seed][number]) == (1, 0)
        assert (each.question, each.target, each.of, each.finish) == (f"What is {number}?", str(number), 7, "length")
        assert each.untouched == f"base says {number}"
        assert each.response.startswith(f"cut says {number} and on")
        assert "characters left out" in each.response
        assert len(each.response) < 2100
    assert failure_rows(RunFiles(tmp_path), tables, 0)[1] == examples
    drawn = {tuple((e.seed, e.item) for e in failure_rows(RunFiles(tmp_path), tables, root)[1]) for root in range(12)}
    assert len(drawn) > 3  # the seed decides, not the order of the items


def test_graded_answers_and_tasks_without_the_untouched_model_have_no_failures(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, **manifest()}))
    outcomes = {
        Cell(arm="base"): [Outcome("write", f"i{n}", "math_answer", n / 4) for n in range(4)],
        Cell(arm="cut", data="d", seed=0): answered(tmp_path, "cut/d/seed-0", [1, 0, 0, 1]),
    }
    answered(tmp_path, "base", [1, 1, 1, 1])
    assert failure_rows(RunFiles(tmp_path), outcome_tables(outcomes.items()), 0) == ((), ())
