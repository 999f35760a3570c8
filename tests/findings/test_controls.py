"""The rank of an arm among its random control sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.looks import Look
from layersig.findings.arms import Arms
from layersig.findings.conclusions import conclusions
from layersig.findings.controls import MIN_SETS, Standing, control_set_rows
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.findings.plan import Plan
from layersig.records import Cell, Outcome
from tests.findings.recipes import FEW, recipe_of

SEEDS = (0, 1, 2)


def arms_of(sets: int, *, metric: str = "loss", rank: int = 0, match: str = "types", fixed: bool = True) -> Arms:
    """An arm that `rank` of its random control sets beat, all with noise over seeds and items."""
    controls = [
        {
            "name": f"r{draw}",
            "select": {"kind": "matched-random", "like": "few", "draw": draw, "match": match, "fixed": fixed},
        }
        for draw in range(sets)
    ]
    recipe = recipe_of(FEW, *controls, seeds=SEEDS)
    sign = -1.0 if metric == "loss" else 1.0
    gains = {"all-layers": 3.0, "few": 2.9999, **{f"r{draw}": 3.5 if draw < rank else 2.0 for draw in range(sets)}}
    rng = np.random.default_rng(3)
    cells = {Cell(arm="base"): 5 + rng.normal(size=40)}
    for arm, gain in gains.items():
        for seed in SEEDS:
            cells[Cell(arm=arm, data="d", seed=seed)] = (
                cells[Cell(arm="base")] + sign * gain + 0.005 * rng.normal(size=40)
            )
    tables = outcome_tables(
        (cell, [Outcome("heldout/d", str(i), metric, float(v)) for i, v in enumerate(values)])
        for cell, values in cells.items()
    )
    return Arms(tables, recipe, Plan(recipe, frozenset()), "m")


@pytest.mark.parametrize("metric", ["loss", "acc"])
@pytest.mark.parametrize("rank", [0, 3, 19])
def test_the_p_value_is_the_rank_among_the_sets(metric: str, rank: int) -> None:
    arms = arms_of(19, metric=metric, rank=rank)
    (row,) = control_set_rows(arms)
    # An independent reference: the share of all 20 that are at least as good as the arm, itself among them.
    values = {name: np.mean([arms.outcomes.units(m, name, "d", SEEDS)]) for m, name, d in arms.cells() if d == "d"}
    pool = [values["few"], *(value for name, value in values.items() if name.startswith("r"))]
    worse = stats.percentileofscore(pool, values["few"], kind="strict" if metric == "acc" else "weak") / 100
    expected = 1 - worse if metric == "acc" else worse
    assert (row.sets, row.at_least_as_good, row.seeds) == (19, rank, len(SEEDS))
    assert row.p == pytest.approx(expected) == pytest.approx((1 + rank) / 20)
    assert row.low == pytest.approx(min(pool[1:]))
    assert ("not shown" in row.sentence) is (rank > 0)


def test_fewer_than_nineteen_sets_give_a_range_and_no_test() -> None:
    (row,) = control_set_rows(arms_of(MIN_SETS - 1))
    assert row.p is None
    assert "better than 18 of 18 random sets of its counts by module type" in row.sentence
    assert "a range, no test" in row.sentence
    assert not list(control_set_rows(arms_of(1)))


def test_sets_that_change_with_the_seed_give_no_test() -> None:
    (row,) = control_set_rows(arms_of(19, fixed=False))
    assert (row.sets, row.p) == (19, None)
    assert "takes 19 sets that are the same in every seed" in row.sentence
    (claim,) = conclusions(arms_of(19, fixed=False)).claims
    assert claim.control_sets == 1


def test_an_arm_with_the_same_layers_in_all_seeds_is_first_as_often_as_chance_among_sets_that_stay() -> None:
    """The effect of a set of layers is a normal variate here, and trainings add no noise: the worst case."""
    rng = np.random.default_rng(8)
    studies, seeds = 4000, 5

    def significant(effects: np.ndarray, *, fixed: bool) -> float:
        arm = rng.normal(size=studies)
        places = (
            Standing(float(own), sets, seeds, higher_is_better=True, fixed=fixed)
            for own, sets in zip(arm, effects, strict=True)
        )
        return float(np.mean([place.at_least_as_good == 0 for place in places]))

    stay = significant(rng.normal(size=(studies, 19)), fixed=True)
    change = significant(rng.normal(size=(studies, 19, seeds)).mean(axis=2), fixed=False)
    assert stay == pytest.approx(0.05, abs=0.015)
    assert change == pytest.approx(0.2, abs=0.03)


def test_a_set_that_stays_is_not_the_control_that_stands_for_random_layers() -> None:
    drawn = {"kind": "matched-random", "like": "few"}
    stays = {"name": "mine", "select": {**drawn, "fixed": True}}
    recipe = recipe_of(FEW, stays, {"name": "few.random", "select": drawn}, seeds=SEEDS)
    plan = Plan(recipe, frozenset())
    assert plan.random_control("few") == "few.random"
    assert plan.further_controls == {"mine"}


def test_the_claim_rests_on_the_rank_where_there_are_enough_sets() -> None:
    (few,) = conclusions(arms_of(18)).claims
    (enough,) = conclusions(arms_of(19)).claims
    (beaten,) = conclusions(arms_of(19, rank=1)).claims
    assert (few.control_sets, enough.control_sets) == (1, 19)
    assert few.beats_random_p < 0.01  # the difference from one control, paired by seed and item
    assert enough.beats_random_p == pytest.approx(1 / 20)
    assert "better than matched random" in enough.conclusion
    assert beaten.conclusion == "as good as all layers"


def test_one_run_and_one_random_set_show_no_selectivity() -> None:
    arms = arms_of(1)
    one = {m: {c: v for c, v in cells.items() if not c.seed} for m, cells in arms.outcomes.values.items()}
    object.__setattr__(arms.outcomes, "values", one)
    (row,) = conclusions(arms).claims
    assert (row.seeds, row.control_sets, row.beats_random_p) == (1, 0, None)
    assert row.conclusion == "as good as all layers"
    many = arms_of(19)
    one = {m: {c: v for c, v in cells.items() if not c.seed} for m, cells in many.outcomes.values.items()}
    object.__setattr__(many.outcomes, "values", one)
    (row,) = conclusions(many).claims
    assert (row.seeds, row.control_sets) == (1, 19)
    assert row.conclusion == "as good as all layers and better than matched random"


def test_ranks_among_random_sets_are_exploratory_and_corrected() -> None:
    arms = arms_of(19)
    values = dict(arms.outcomes.values)
    (measure,) = values
    for task in ("heldout/e", "heldout/f"):
        values[Measure(task, measure.metric)] = values[measure]
    items = dict.fromkeys(values, arms.outcomes.items[measure])
    (first, *_) = rows = list(control_set_rows(Arms(OutcomeTables(items, values, ()), arms.recipe, arms.plan, "m")))
    assert [(row.p, row.adjusted_p) for row in rows] == [pytest.approx((0.05, 0.15))] * 3
    assert first.sentence.startswith("Exploratory: few is not shown to be better than random sets")
    assert "p = 0.15 by its rank among them, corrected for 3 such tests" in first.sentence


def test_only_the_first_of_several_controls_is_compared_alone() -> None:
    arms = arms_of(19)
    compared = {(row.arm, row.reference) for row in conclusions(arms).comparisons}
    assert compared == {
        ("base", "all-layers"),
        ("few", "all-layers"),
        ("few", "r0"),
        ("r0", "all-layers"),
    }
    assert {row.arm for row in arms.results()} == {"base", "all-layers", "few", *(f"r{draw}" for draw in range(19))}


def test_sets_of_another_match_are_told_apart() -> None:
    (row,) = control_set_rows(arms_of(19, match="layers"))
    assert (row.match, row.p) == ("layers", pytest.approx(0.05))
    assert "its number of layers" in row.sentence


@pytest.mark.parametrize("higher", [True, False])
def test_sets_that_tie_with_the_arm_count_alike_in_the_sentence_and_the_test(higher: bool) -> None:
    found = Standing(0.1 + 0.2, np.full(19, 0.3), 1, higher, fixed=True)
    assert found.value != found.sets[0]
    assert (found.at_least_as_good, found.p) == (19, 1.0)


def test_the_test_among_control_sets_allows_for_looks_where_seeds_are_added() -> None:
    plain, look = arms_of(19), Look((3, 5), 1)
    at_look = replace(plain, outcomes=replace(plain.outcomes, look=look))
    (row,), (allowing,) = control_set_rows(plain), control_set_rows(at_look)
    assert (row.p, allowing.p) == (pytest.approx(0.05), pytest.approx(look.p_value(0.05)))
    (claim,) = (row for row in conclusions(at_look).claims if row.arm == "few")
    assert claim.beats_random_p == allowing.p
