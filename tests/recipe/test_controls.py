"""Controls that every comparing recipe gets."""

from __future__ import annotations

import json

import pytest

from layersig.plugin.manager import installed
from layersig.recipe.resolve import to_toml, with_defaults
from layersig.recipe.schema import Recipe

TOP = {"kind": "top", "fraction": 0.3}


def resolved(arms: list[dict], **analyze: object) -> Recipe:
    recipe = Recipe.model_validate_json(
        json.dumps(
            {
                "name": "x",
                "model": {"source": "path:m"},
                "data": [{"name": "a", "source": "file:a.jsonl"}],
                "scorers": {"ila": {"kind": "ila"}, "random": {"kind": "random"}},
                "arms": arms,
                "analyze": analyze,
            }
        )
    )
    return with_defaults(recipe, installed())


def test_the_first_scored_arm_gets_a_random_and_a_rule_control():
    recipe = resolved([{"name": "ila-30", "scorer": "ila", "select": TOP, "action": "graft"}])
    assert recipe.analyze.primary == ("ila-30",)
    assert [arm.name for arm in recipe.arms] == ["ila-30", "ila-30.random", "ila-30.rule"]
    assert {arm.action for arm in recipe.arms} == {"graft"}
    assert recipe.arms[2].scorers == ("ila",)


def test_every_arm_that_reads_a_scorer_gets_controls_where_all_are_wanted():
    arms = [
        {"name": "ila-30", "scorer": "ila", "select": TOP, "action": "graft"},
        {"name": "ila-10", "scorer": "ila", "select": {"kind": "top", "fraction": 0.1}, "action": "graft"},
        {"name": "drawn", "scorer": "random", "select": TOP},
        {"name": "some", "select": {"kind": "list", "layers": ["*"]}},
    ]
    recipe = resolved(arms, controls="all")
    assert recipe.analyze.primary == ("ila-30",)
    added = {arm.name: arm.select.params["like"] for arm in recipe.arms if "like" in arm.select.params}
    assert added == {f"ila-{n}.{kind}": f"ila-{n}" for n in (30, 10) for kind in ("random", "rule")}
    assert with_defaults(recipe, installed()) == recipe


def test_a_primary_arm_that_reads_no_scorer_gets_random_controls():
    arms = [
        {"name": "some", "select": {"kind": "list", "layers": ["*"]}},
        {"name": "given", "checkpoint": "path:other"},
        {"name": "drawn", "select": {"kind": "matched-random", "like": "some", "match": "layers"}},
    ]
    recipe = resolved(arms, primary=["some", "given", "drawn"], control_sets=2)
    assert [arm.name for arm in recipe.arms[3:]] == ["some.random", "some.random-2", "some.random-3"]
    assert {arm.select.params["like"] for arm in recipe.arms[3:]} == {"some"}
    assert with_defaults(recipe, installed()) == recipe


def test_a_control_takes_no_name_that_an_arm_has():
    taken = {"name": "ila-30.rule", "scorer": "ila", "select": TOP}
    recipe = resolved([{"name": "ila-30", "scorer": "ila", "select": TOP}, taken])
    assert [arm.name for arm in recipe.arms[2:]] == ["ila-30.random", "ila-30.rule-2"]
    assert with_defaults(recipe, installed()) == recipe


def test_controls_that_are_there_are_not_added_again():
    given = {"name": "drawn", "select": {"kind": "matched-random", "like": "ila-30"}}
    recipe = resolved([{"name": "ila-30", "scorer": "ila", "select": TOP}, given])
    assert [arm.name for arm in recipe.arms] == ["ila-30", "drawn", "ila-30.rule"]
    assert with_defaults(recipe, installed()) == recipe
    assert "ila-30.rule" in to_toml(recipe)


@pytest.mark.parametrize("analyze", [{"controls": False}, {"primary": []}])
def test_no_controls_where_none_are_wanted(analyze):
    recipe = resolved([{"name": "ila-30", "scorer": "ila", "select": TOP}], **analyze)
    assert [arm.name for arm in recipe.arms] == ["ila-30"]


def test_as_many_random_control_sets_as_wanted():
    given = {"name": "drawn", "select": {"kind": "matched-random", "like": "ila-30", "draw": 1}}
    taken = {"name": "ila-30.random", "select": {"kind": "matched-random", "like": "ila-30", "match": "layers"}}
    arms = [{"name": "ila-30", "scorer": "ila", "select": TOP, "action": "graft"}, given, taken]
    recipe = resolved(arms, control_sets=4)
    added = recipe.arms[3:-1]
    # The one that is redrawn for every seed is there; the fixed sets of the rank get free names.
    assert [(arm.name, arm.select.params["draw"], arm.select.params["fixed"]) for arm in added] == [
        ("ila-30.random-2", 0, True),
        ("ila-30.random-3", 1, True),
        ("ila-30.random-4", 2, True),
        ("ila-30.random-5", 3, True),
    ]
    assert {(arm.action, arm.select.params["match"]) for arm in added} == {("graft", "types")}
    assert with_defaults(recipe, installed()) == recipe


def test_sets_that_stay_and_are_there_count():
    stays = {"kind": "matched-random", "like": "ila-30", "draw": 2, "fixed": True}
    arms = [{"name": "ila-30", "scorer": "ila", "select": TOP}, {"name": "mine", "select": stays}]
    recipe = resolved(arms, control_sets=3)
    drawn = [(arm.name, arm.select.params["draw"], "fixed" in arm.select.params) for arm in recipe.arms[2:-1]]
    assert drawn == [("ila-30.random", 0, False), ("ila-30.random-2", 0, True), ("ila-30.random-3", 1, True)]
    assert with_defaults(recipe, installed()) == recipe


def test_the_rule_of_a_transferred_arm_reads_the_same_ranking():
    recipe = resolved([{"name": "ila-30", "scorer": "ila", "ranked_on": "a", "select": TOP}])
    assert recipe.arms[-1].ranked_on == "a"


def test_controls_of_a_pruning_arm_spare_the_blocks_that_it_spares():
    arm = {
        "name": "p",
        "scorer": "ila",
        "select": {"kind": "lowest", "count": 2, "protect": [0, -1]},
        "action": "prune",
    }
    recipe = resolved([arm])
    params = {each.name: each.select.params for each in recipe.arms}
    assert params["p.random"]["protect"] == [-1, 0]
    assert (params["p.rule"]["protect"], params["p.rule"]["end"]) == ([-1, 0], "lowest")
    assert with_defaults(recipe, installed()) == recipe
