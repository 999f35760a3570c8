"""Tests of sharing that a recipe declares, and those that it declares once the rankings are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.world import Run, World
from tests.study import RECIPE, write_study

SCORERS = """\
[scorers.norm]
kind = "gradient-norm"
batches = 1
"""
DECLARED = '[analyze]\nsharing = ["ila", "norm"]\n'
ITEM = "declared before the run"


def study(folder: Path, more: str = "") -> World:
    recipe = RECIPE.partition("[[arms]]")[0].replace("seeds = [0]", "seeds = [0, 1]") + SCORERS
    return World(folder, write_study(folder, recipe=recipe + more))


def analysis(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "analysis.json").read_text(encoding="utf-8"))
    return found


def demanded(found: dict[str, Any]) -> dict[str, Any]:
    (row,) = (row for row in found["rigor"] if row["item"] == ITEM)
    return dict(row)


def test_rankings_that_are_scored_after_the_declaration_are_declared(tmp_path: Path) -> None:
    found = analysis(study(tmp_path, DECLARED).run().run)
    assert {row["declared"] for row in found["sharing"]} == {True}
    assert all(row["sentence"].startswith("Declared: ") for row in found["sharing"])
    assert demanded(found)["status"] == "met"


def test_a_declaration_that_comes_after_the_rankings_declares_nothing(tmp_path: Path) -> None:
    world = study(tmp_path)
    silent = analysis(world.run().run)
    assert demanded(silent)["status"] == "not met"
    assert "`analyze.sharing` names no scorers" in demanded(silent)["evidence"]
    world.recipe.write_text(world.recipe.read_text(encoding="utf-8") + DECLARED, encoding="utf-8")
    run = world.run().run
    assert not run.ran
    late = analysis(run)
    assert {row["declared"] for row in late["sharing"]} == {False}
    tests = len(late["sharing"])
    assert f"0 of {tests} tests of agreement that the recipe declares" in demanded(late)["evidence"]
    assert late["other_declarations"] == 1


def test_milestones_of_a_declared_scorer_are_declared(tmp_path: Path) -> None:
    recipe = RECIPE.partition("[[arms]]")[0].replace("seeds = [0]", "seeds = [0, 1]")
    recipe = recipe.replace("[scorers.ila]\n", "[scorers.ila]\ncheckpoint = [0.5, 1.0]\n")
    world = World(tmp_path, write_study(tmp_path, recipe=recipe + '[analyze]\nsharing = ["ila"]\n'))
    found = analysis(world.run().run)
    tests = len(found["milestones"])
    assert tests > 0
    assert all(row["declared"] and row["scorers"] == ["ila", "ila"] for row in found["milestones"])
    evidence = demanded(found)
    assert evidence["status"] == "met"
    assert evidence["evidence"].startswith(
        f"{tests} of {tests} tests of agreement that the recipe declares were declared"
    )


def test_one_seed_leaves_nothing_to_test(tmp_path: Path) -> None:
    row = demanded(analysis(study(tmp_path, DECLARED).run("seeds=[0]").run))
    assert (row["status"], row["evidence"]) == (
        "not met",
        "The declared tests of agreement were not made: they take two seeds of each ranking.",
    )


def test_a_plan_lists_what_is_declared_and_warns_of_too_few_seeds(tmp_path: Path) -> None:
    world = study(tmp_path, DECLARED)
    plan = world.call("plan", world.recipe).out
    assert "declared: whether rankings agree, by ila, norm (S = 2)\n    warning: no verdict is given" in plan
    enough = world.call("plan", world.recipe, "seeds=[0,1,2,3,4]").out
    assert "by ila, norm (S = 5)\n" in enough
    assert "no verdict is given" not in enough
