"""Which arms are compared with which: what the recipe names, other scorers' arms, controls; how all is corrected."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from layersig.findings.arms import Arms
from layersig.findings.conclusions import conclusions
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.findings.plan import Plan
from layersig.findings.rows.arms import ComparisonRow
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome
from tests.findings.recipes import recipe_of

SEEDS = range(5)
GAINS = {
    "all-layers": 0.5,
    "ila": 0.497,
    "mine": 0.45,
    "grad": 0.44,
    "wide": 0.49,
    "rl-1": 0.3,
    "rl-2": 0.31,
    "rt": 0.3,
}
TOP = {"kind": "top", "fraction": 0.3}
TASKS = ("heldout/d", "t0", "mmlu>pypi:mmlu")


def recipe(**analyze: object) -> Recipe:
    control = {"kind": "matched-random", "like": "ila"}
    return recipe_of(
        {"name": "ila", "scorer": "ila", "select": TOP},
        {"name": "mine", "scorer": "random", "select": TOP},
        {"name": "grad", "scorer": "first-k", "select": TOP},
        {"name": "wide", "scorer": "first-k", "select": {"kind": "top", "fraction": 0.6}},
        {"name": "rl-1", "select": {**control, "match": "layers"}},
        {"name": "rl-2", "select": {**control, "match": "layers", "draw": 1}},
        {"name": "rt", "select": control},
        seeds=tuple(SEEDS),
        scorers={"ila": {"kind": "ila"}, "random": {"kind": "random"}, "first-k": {"kind": "first-k"}},
        analyze={"resamples": 200, "primary": ("ila",), **analyze},
    )


def tables() -> OutcomeTables:
    rng = np.random.default_rng(2)
    base = rng.normal(2, 0.2, size=40)
    cells = {Cell(arm="base"): base}
    for (arm, gain), seed in product(GAINS.items(), SEEDS):
        cells[Cell(arm=arm, data="d", seed=seed)] = base - gain + 0.02 * rng.normal() + 0.02 * rng.normal(size=40)
    evaluations = (
        (cell, [Outcome(task, str(i), "loss", float(v)) for task in TASKS for i, v in enumerate(values)])
        for cell, values in cells.items()
    )
    return outcome_tables(evaluations)


EVERY = frozenset(Cell(arm=arm, data="d", seed=seed) for arm, seed in product(GAINS, SEEDS))


def compared(**analyze: object) -> list[ComparisonRow]:
    plan = Plan(recipe(**analyze), EVERY)
    return list(conclusions(Arms(tables(), plan.recipe, plan, "m")).comparisons)


def pairs(rows: list[ComparisonRow], role: str) -> set[tuple[str, str]]:
    return {(row.arm, row.reference) for row in rows if row.role == role}


def test_arms_of_other_scorers_with_the_same_policy_and_size_are_compared() -> None:
    rows = compared()
    assert pairs(rows, "other scorer") == {("ila", "mine"), ("ila", "grad"), ("mine", "grad")}
    assert not any(row.declared for row in rows if row.role == "other scorer")
    members = [row for row in rows if row.family == "exploratory: between scorers"]
    assert len(members) == 9  # on each of the three tasks
    expected = multipletests([row.p for row in members], method="holm")[1]
    assert [row.adjusted_p for row in members] == pytest.approx(expected.tolist())
    assert all(row.verdict is not None for row in members)


def test_a_named_contrast_is_declared_and_is_not_made_twice() -> None:
    rows = compared(contrasts=(("mine", "ila"), ("wide", "all-layers")))
    assert pairs(rows, "contrast") == {("mine", "ila")}  # the other is with the baseline, among its comparisons
    assert pairs(rows, "other scorer") == {("ila", "grad"), ("mine", "grad")}
    declared = {(row.arm, row.reference, row.task) for row in rows if row.declared}
    assert declared == {
        (a, b, "heldout/d") for a, b in [("ila", "all-layers"), ("mine", "ila"), ("wide", "all-layers")]
    }


def test_the_estimate_of_a_contrast_is_that_of_a_two_way_t_test() -> None:
    (row,) = (r for r in compared(contrasts=(("mine", "ila"),)) if r.declared and r.reference == "ila")
    found = tables()
    measure = Measure("heldout/d", "loss")
    table = found.raw(measure, "mine", "d", tuple(SEEDS)) - found.raw(measure, "ila", "d", tuple(SEEDS))
    s, n = table.shape
    grand, by_seed, by_item = table.mean(), table.mean(axis=1), table.mean(axis=0)
    ms_seed = n * ((by_seed - grand) ** 2).sum() / (s - 1)
    ms_item = s * ((by_item - grand) ** 2).sum() / (n - 1)
    ms_rest = ((table - by_seed[:, None] - by_item + grand) ** 2).sum() / ((s - 1) * (n - 1))
    total = ms_seed + ms_item - ms_rest
    se = (total / (s * n)) ** 0.5
    limit = ms_seed * (s - 1) / stats.chi2.ppf(0.2, s - 1)
    squares = limit**2 / (s - 1) + ms_item**2 / (n - 1) + ms_rest**2 / ((s - 1) * (n - 1))
    df = (limit + ms_item - ms_rest) ** 2 / squares
    assert (row.estimate, row.se, row.df) == pytest.approx((grand, se, df))
    assert row.p == pytest.approx(2 * stats.t.sf(abs(grand) / se, df))


def test_everything_declared_is_one_family_whatever_its_outcome() -> None:
    plan = Plan(recipe(contrasts=(("mine", "ila"),), outcome=("heldout", "mmlu")), EVERY)
    found = conclusions(Arms(tables(), plan.recipe, plan, "m"))
    rows = [row for row in found.comparisons if row.declared]
    claims = [claim for claim in found.claims if claim.declared]
    assert {row.task for row in rows} == {"heldout/d", "mmlu>pypi:mmlu"}  # a stand-in's rows are the outcome still
    assert (len(rows), len(claims)) == (4, 2)
    assert {each.family_size for each in (*rows, *claims)} == {6}
    raw = [*(row.p for row in rows), *(max(c.assay_p, c.keeps_p or 0.0) for c in claims)]
    expected = multipletests(raw, method="holm")[1]
    assert [*(row.adjusted_p for row in rows), *(c.as_good_p for c in claims)] == pytest.approx(expected.tolist())
    assert all("corrected for 6 declared tests" in str(each.sentence) for each in rows)


def test_every_kind_of_random_control_is_compared_and_every_one_is_shown() -> None:
    plan = Plan(recipe(), EVERY)
    arms = Arms(tables(), plan.recipe, plan, "m")
    assert pairs(list(conclusions(arms).comparisons), "random control") == {("ila", "rl-1"), ("ila", "rt")}
    assert {row.arm for row in arms.results()} == {*GAINS, "base"}
    assert plan.random_control("ila") == "rt"  # to beat sets that share its types is the harder claim


def test_a_contrast_that_was_measured_before_its_declaration_is_exploratory() -> None:
    plan = Plan(recipe(contrasts=(("mine", "ila"),)), EVERY - {Cell(arm="mine", data="d", seed=2)})
    rows = conclusions(Arms(tables(), plan.recipe, plan, "m")).comparisons
    (row,) = (r for r in rows if (r.role, r.task) == ("contrast", "heldout/d"))
    assert (row.declared, row.family) == (False, "exploratory: named contrasts")
    assert str(row.sentence).startswith("Exploratory: ")
