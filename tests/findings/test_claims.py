from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from layersig.analysis.as_good import AsGood
from layersig.analysis.looks import Look
from layersig.findings.arms import Arms
from layersig.findings.claims import arm_rank_rows, every_task_rows
from layersig.findings.conclusions import conclusions
from layersig.findings.contrasts import contrast
from layersig.findings.outcomes import Measure, outcome_tables
from layersig.findings.plan import Plan
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome
from tests.findings.recipes import FEW, recipe_of


def recipe(**analyze: object) -> Recipe:
    return recipe_of(
        FEW,
        {"name": "other", "scorer": "ila", "select": {"kind": "top", "fraction": 0.5}},
        {"name": "random", "select": {"kind": "matched-random", "like": "few"}},
        {"name": "rule", "scorer": "ila", "select": {"kind": "type-depth", "like": "few"}},
        seeds=tuple(range(5)),
        analyze={"resamples": 200, **analyze},
    )


GAINS = {"all-layers": 0.5, "few": 0.497, "other": 0.45, "random": 0.3, "rule": 0.4}
SEEDS = range(5)


def arms(plan: Plan, noise: float = 0.01, still: str | None = None) -> Arms:
    """Losses of all arms; `still`: an arm that answers as the untouched model does."""
    rng = np.random.default_rng(2)
    base = rng.normal(2, 0.2, size=60)
    cells = {Cell(arm="base"): base}
    for (arm, gain), seed in product(GAINS.items(), SEEDS):
        shift = noise * rng.normal()
        moved = base - gain + shift + noise * rng.normal(size=60)
        cells[Cell(arm=arm, data="d", seed=seed)] = base if arm == still else moved
    tables = outcome_tables(
        (
            cell,
            [
                Outcome(task, str(i), "loss", float(v))
                for task in ("heldout/d", "heldout/e")
                for i, v in enumerate(values)
            ],
        )
        for cell, values in cells.items()
    )
    return Arms(tables, plan.recipe, plan, "m")


EVERY = frozenset(Cell(arm=arm, data="d", seed=seed) for arm, seed in product(GAINS, SEEDS))


def test_only_the_primary_arm_on_the_declared_outcome_is_confirmatory() -> None:
    rows = list(conclusions(arms(Plan(recipe(), EVERY))).comparisons)
    assert [(r.arm, r.reference, r.task) for r in rows if r.declared] == [("few", "all-layers", "heldout/d")]
    late = EVERY - {Cell(arm="few", data="d", seed=3)}
    assert not any(r.declared for r in conclusions(arms(Plan(recipe(), late))).comparisons)
    named = list(conclusions(arms(Plan(recipe(primary=("other",), outcome="heldout/e"), EVERY))).comparisons)
    assert [(r.arm, r.task) for r in named if r.declared] == [("other", "heldout/e")]


def test_a_comparison_with_the_untouched_model_can_be_declared() -> None:
    declared = recipe(baseline="base", primary=("few",))
    rows = list(conclusions(arms(Plan(declared, EVERY | {Cell(arm="base")}))).comparisons)
    assert [(r.arm, r.reference, r.task) for r in rows if r.declared] == [("few", "base", "heldout/d")]
    assert not any(r.declared for r in conclusions(arms(Plan(declared, EVERY))).comparisons)


def test_declared_and_exploratory_tests_are_corrected_apart() -> None:
    rows = list(conclusions(arms(Plan(recipe(), EVERY))).comparisons)
    families = {row.family for row in rows if row.family is not None}
    assert "declared" in families
    (declared,) = [row for row in rows if row.family == "declared"]
    assert declared.family_size == 2  # with the claim that its arm is as good as all layers
    members = [row for row in rows if row.family == "exploratory: against baseline"]
    expected = multipletests([row.p for row in members], method="holm")[1]
    assert [row.adjusted_p for row in members] == pytest.approx(expected.tolist())
    assert {row.family for row in rows if row.arm == "base"} == {"exploratory: untouched model"}


def test_a_declared_claim_stays_in_its_family_where_all_layers_change_nothing() -> None:
    found = conclusions(arms(Plan(recipe(), EVERY), still="all-layers"))
    (claim,) = [row for row in found.claims if row.declared]
    assert (claim.conclusion, claim.family, claim.family_size) == (AsGood.NOT_TESTED.value, "declared", 2)
    (declared,) = [row for row in found.comparisons if row.declared]
    assert (declared.family_size, declared.adjusted_p) == (2, pytest.approx(min(1.0, 2 * declared.p)))


def test_the_fixed_sequence_stops_at_its_first_failure() -> None:
    rows = {(row.arm, row.task): row for row in conclusions(arms(Plan(recipe(), EVERY))).claims}
    good = rows["few", "heldout/d"]
    assert good.conclusion == "as good as all layers and better than matched random"
    strict = next(iter(conclusions(arms(Plan(recipe(margins={"loss": 0.9}), EVERY))).claims))
    assert strict.conclusion == "not tested: all layers are not shown to gain more than the margin"
    assert strict.keeps_p is None
    assert strict.beats_random_p is None


def test_the_declared_margin_replaces_ours() -> None:
    assert Plan(recipe(margins={"loss": 0.7}), EVERY).margin(Measure("t", "loss")) == 0.7
    assert Plan(recipe(), EVERY).margin(Measure("t", "acc")) == 0.01
    assert Plan(recipe(), EVERY).margin(Measure("t", "zeta")) is None


def test_controls_are_found_by_role() -> None:
    rows = {(row.arm, row.role): row.reference for row in conclusions(arms(Plan(recipe(), EVERY))).comparisons}
    assert rows["few", "random control"] == "random"
    assert rows["few", "rule control"] == "rule"
    assert ("other", "random control") not in rows


def test_detectable_difference_is_that_of_a_t_test_over_seeds_when_items_do_not_vary() -> None:
    study = arms(Plan(recipe(), EVERY))
    found = contrast(study.outcomes, Measure("heldout/d", "loss"), "d", "few", "all-layers")
    assert found is not None
    flat = found.differences.mean(axis=1, keepdims=True) + np.zeros((1, 60))
    object.__setattr__(found, "differences", flat)
    detectable = found.detectable(0.05)
    df = 4
    sd = flat[:, 0].std(ddof=1) * (df / stats.chi2.ppf(0.2, df)) ** 0.5  # its upper 80 % limit
    t = stats.t.ppf(0.975, df)
    power = stats.nct.sf(t, df, detectable * 5**0.5 / sd) + stats.nct.cdf(-t, df, detectable * 5**0.5 / sd)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_ranks_of_arms_need_five_seeds() -> None:
    rows = {(row.arm, row.task): row for row in arm_rank_rows(arms(Plan(recipe(), EVERY)))}
    assert (rows["random", "heldout/d"].best, rows["random", "heldout/d"].worst) == (5, 5)
    assert rows["all-layers", "heldout/d"].best == 1
    study = arms(Plan(recipe(), EVERY))
    few = {m: {c: v for c, v in cells.items() if (c.seed or 0) < 4} for m, cells in study.outcomes.values.items()}
    object.__setattr__(study.outcomes, "values", few)
    assert list(arm_rank_rows(study)) == []


def test_bootstraps_stand_beside_the_intervals_of_the_outcome() -> None:
    study = arms(Plan(recipe(), EVERY))
    for row in conclusions(study).comparisons:
        known = row.bootstrap_low is not None and row.bootstrap_high is not None
        assert known == (row.role == "baseline" and row.task == "heldout/d")


@pytest.mark.parametrize(("outcome", "declared"), [("heldout", "heldout/d"), ("heldout/e", "heldout/e")])
def test_claims_say_their_family_and_are_corrected_in_it(outcome: str, declared: str) -> None:
    found = conclusions(arms(Plan(recipe(outcome=outcome), EVERY)))
    rows = found.claims
    assert [row.task for row in rows if row.declared] == [declared]
    assert all(row.sentence.startswith("Declared: ") == row.declared for row in rows)
    families = {row.family for row in rows}
    for family in families:
        members = [row for row in rows if row.family == family]
        beside = [row.p for row in found.comparisons if row.family == family]
        raw = [max(row.assay_p, 1.0 if row.keeps_p is None else row.keeps_p) for row in members]
        expected = multipletests([*raw, *beside], method="holm")[1]
        assert [row.as_good_p for row in members] == pytest.approx(expected[: len(raw)].tolist())
        assert {row.family_size for row in members} == {len(members) + len(beside)}
    assert [row.family for row in found.comparisons if row.declared] == ["declared"]


@pytest.mark.parametrize(("worst", "established"), [(0.4999, True), (0.2, False)])
def test_on_every_task_is_the_worst_of_the_tasks(worst: float, established: bool) -> None:
    plan = Plan(recipe(), EVERY)
    rng, cells = np.random.default_rng(3), {}
    base = rng.normal(2, 0.2, size=60)
    tables = {}
    for task, gain in (("t0", 0.5), ("t1", 0.4999), ("t2", worst)):
        cells = {Cell(arm="base"): base}
        for (arm, own), seed in product({**GAINS, "few": gain}.items(), SEEDS):
            cells[Cell(arm=arm, data="d", seed=seed)] = base - own + 0.001 * rng.normal(size=60)
        tables[task] = cells
    evaluations = [
        (cell, [Outcome(task, str(i), "loss", float(v)) for task in tables for i, v in enumerate(tables[task][cell])])
        for cell in cells
    ]
    study = Arms(outcome_tables(evaluations), plan.recipe, plan, "m")
    claims = tuple(conclusions(study).claims)
    (row,) = every_task_rows(study, claims)
    assert row.tasks == ("t0", "t1", "t2")
    assert row.p == max(max(claim.assay_p, claim.keeps_p or 0.0) for claim in claims)
    assert row.established is established
    assert ("few is as good as all layers on every one of the 3 benchmarks" in row.sentence) is established


@pytest.mark.parametrize("baseline", ["all-layers", "base", "other"])
def test_an_arm_that_is_shown_to_be_worse_is_not_as_good_whatever_the_baseline(baseline: str) -> None:
    found = conclusions(arms(Plan(recipe(baseline=baseline, primary=("few",)), EVERY), noise=0.0005))
    (row,) = (r for r in found.comparisons if (r.arm, r.reference, r.task) == ("few", "all-layers", "heldout/d"))
    (claim,) = (c for c in found.claims if (c.arm, c.task) == ("few", "heldout/d"))
    assert "worse" in str(row.verdict)
    assert claim.as_good_p <= 0.05
    assert claim.conclusion == AsGood.KEEPS_BUT_WORSE


def test_ranks_of_arms_allow_for_looks() -> None:
    found = arms(Plan(recipe(), EVERY), noise=0.1)
    at_look = replace(found, outcomes=replace(found.outcomes, look=Look((5, 20), 1)))
    rows = [{(r.arm, r.task): (r.best, r.worst) for r in arm_rank_rows(each)} for each in (found, at_look)]
    wider = [rows[1][key][0] <= best and rows[1][key][1] >= worst for key, (best, worst) in rows[0].items()]
    assert all(wider)
    assert rows[0] != rows[1]
