"""The recipes of the leaderboard: both have the same field, and the small one runs on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.recipe.load import load
from tests.e2e.test_studies import ROWS
from tests.e2e.world import World
from tests.study import write_lines, write_study

RECIPES = Path(__file__).parents[2] / "recipes" / "leaderboard"


def test_every_scorer_has_the_same_budgets_and_control_sets() -> None:
    large, small = (load(RECIPES / f"{name}.toml").recipe for name in ("large", "small"))
    assert {*small.scorers} == {*large.scorers} - {"alone"}
    for recipe in (large, small):
        assert len(recipe.seeds) == 5
        grafts = [arm for arm in recipe.arms if arm.action == "graft" and arm.select.kind == "top"]
        found = {(arm.scorers, arm.select.params["fraction"]) for arm in grafts}
        assert found == {((name,), share) for name in recipe.scorers for share in (0.1, 0.3, 0.5)}
        sets = [arm.select.params["like"] for arm in recipe.arms if arm.select.kind == "matched-random"]
        # 19 fixed sets to be ranked among, and one that is redrawn for every seed.
        assert {name: sets.count(name) for name in sets} == {arm.name: 20 for arm in grafts}
    tuned = [arm for arm in large.arms if arm.action == "tune"]
    assert {arm.scorers[0] for arm in tuned} == {*large.scorers}
    assert all(large.training_of(arm).search == large.train.search for arm in tuned)
    assert large.train.search is not None


@pytest.mark.slow
def test_the_small_one_runs_and_puts_all_scorers_side_by_side(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_lines(tmp_path / "rows.jsonl", ROWS)
    world = World(tmp_path, RECIPES / "small.toml")
    changed = ["model.source=path:model", "data.0.source=file:rows.jsonl", "analyze.resamples=100", "seeds=[0, 1]"]
    run = world.run("--smoke", *changed, "arms.0.grid.select.fraction=[0.4]").run
    page, rows = (
        (run.path / "report.md").read_text(),
        json.loads((run.path / "analysis.json").read_text())["leaderboard"],
    )
    assert len({row["scorer"] for row in rows}) == 13
    for row in rows:
        assert (row["k"], row["of"], row["random_sets"]) == (1, 3, 19)
        assert None not in (row["kept"], row["seconds"], row["stability"], row["rule_kappa"], row["random_p"])
        assert (row["leave_one_out"] is None) is (row["scorer"] == "leave-one-out")
        assert row["reads_update"] is (row["scorer"] in _READ_UPDATES)
    # Equal budgets share their random sets: they are measured once.
    measured = [name for name in run.ran if name.startswith("evaluate/") and ".random" in name]
    assert len(measured) <= 3 * 2
    assert "## Leaderboard of scorers" in page


_READ_UPDATES = {"ila", "path-attribution", "update-taylor", "leave-one-out", "add-one-in", "weight-change"}
