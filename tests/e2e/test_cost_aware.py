"""A study with a budget of time: the same layers every time, within the budget, and the time saved in the report."""

from __future__ import annotations

import json

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from tests.e2e.world import Run, World
from tests.study import RECIPE, write_study

STUDY = (
    RECIPE.split("[scorers.ila]", 1)[0]
    + """\
[scorers.last]
kind = "last-k"

[scorers.white]
kind = "whitened-gradient"
batches = 1

[[arms]]
name = "most"
scorer = "last"
select = { kind = "cost-aware", share = 0.8, worth = "place" }

[analyze]
controls = false
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("cost-aware")
    return World(base, write_study(base, recipe=STUDY))


@pytest.fixture(scope="module")
def run(world: World) -> Run:
    return world.run().run


def test_the_layers_lie_above_a_block_and_keep_the_budget(run: Run) -> None:
    layers = json.loads((run.path / "layers.json").read_text())["layers"]
    chosen = [layer for layer in layers if layer["name"] in run.layers("most")]
    assert min(layer["block"] for layer in chosen) > 0
    stages = {stage["id"]: stage for stage in run.manifest["stages"]}
    own, whole = (stages[name]["operations"] for name in ("tune/most/chats/seed-0", "reference/chats/seed-0"))
    assert own < 0.8 * whole


def test_the_report_sets_the_time_saved_beside_what_arithmetic_allows(run: Run) -> None:
    (row,) = json.loads((run.path / "analysis.json").read_text())["time_saved"]
    assert (row["arm"], row["runs"], row["saved_low"]) == ("most", 1, None)
    assert row["saved"] <= row["saved_in_training"] < 1
    assert row["bound"] > 0.2
    assert "Time saved next to training all layers" in (run.path / "report.md").read_text()


def test_every_layer_has_a_card(run: Run) -> None:
    rows = json.loads((run.path / "analysis.json").read_text())["layer_cards"]
    layers = json.loads((run.path / "layers.json").read_text())["layers"]
    assert [row["layer"] for row in rows] == [layer["name"] for layer in layers]
    scores = {line["scorer"]: line["scores"] for line in run.lines("scores.jsonl")}
    assert {row["layer"]: row["signal"] for row in rows} == pytest.approx(scores["white"])
    assert {row["layer"]: row["score"] for row in rows} == scores["last"]
    assert all(row["condition"] >= 1 and row["energy"] > 0 and 0.4 < row["time"] < 1 for row in rows)
    assert "Layer cards" in (run.path / "report.md").read_text()


@pytest.mark.slow
def test_what_does_not_change_costs_selects_nothing_anew(world: World, run: Run) -> None:
    def cached(override: str) -> bool:
        again = world.run(override).run
        (stage,) = (stage for stage in again.manifest["stages"] if stage["kind"] == "select")
        return bool(stage["cached"])

    assert cached("train.learning_rate=0.02")
    assert not cached("train.rank=3")


def test_an_arm_that_removes_blocks_is_refused(world: World) -> None:
    with pytest.raises(UserError, match=r'"cost-aware" counts what training costs.*removes blocks; take "lowest"'):
        load(world.recipe, ("arms.0.action=prune", "layers.unit=block"))
