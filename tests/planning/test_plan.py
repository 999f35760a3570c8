"""A plan beside what a run then takes, on studies of tiny models."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import Run, World
from tests.planning.studies import STUDIES, write
from tests.tiny import torch_threads

pytestmark = pytest.mark.slow

SLOW = [pytest.param(name, marks=[] if name == "lora" else pytest.mark.slow) for name in STUDIES]


@dataclass(frozen=True)
class Planned:
    """A study that was planned, run, and planned again.

    Attributes:
        world: Where.
        before: The plan before the run.
        run: The run.
        store: Bytes that the run added to the store.
        beside: Bytes of the run folder that are no links into the store.
        after: The plan after it.
    """

    world: World
    before: Mapping[str, Any]
    run: Run
    store: int
    beside: int
    after: Mapping[str, Any]


_DONE: dict[str, Planned] = {}


@pytest.fixture
def planned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """One of the studies; each is run once."""
    name: str = request.param
    if name not in _DONE:
        base = tmp_path_factory.mktemp(name)
        world = World(base, write(base, name))
        before = _plan(world)
        there = set(_files(world.cache / "stages"))
        run = world.run().run
        made = _files(world.cache / "stages")
        store = sum(size for inode, size in made.items() if inode not in there)
        beside = sum(size for inode, size in _files(run.path).items() if inode not in made)
        _DONE[name] = Planned(world, before, run, store, beside, _plan(world))
    return _DONE[name]


def _plan(world: World, *arguments: object) -> Mapping[str, Any]:
    told = world.call("plan", world.recipe, "--json", *arguments)
    assert told.code == 0, told.err
    return dict(told.json)


def _files(folder: Path) -> dict[int, int]:
    """Sizes of all files by inode, so that a file with several names counts once."""
    return {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("planned", SLOW, indirect=True)
def test_every_stage_is_counted_with_the_tokens_that_it_takes(planned: Planned) -> None:
    stages = planned.run.stages
    assert [stage["id"] for stage in planned.before["stages"]] == list(stages)
    counted = 0
    for stage in planned.before["stages"]:
        took = stages[stage["id"]]
        assert stage["not_counted"] is None
        if not stage["cached"] and took.get("tokens"):
            # What tasks ask is counted from their texts, the rest from the very batches.
            exact = stage["kind"] not in ("evaluate", "score") or "tasks" not in stage["id"]
            assert stage["tokens"] == pytest.approx(took["tokens"], rel=0.03 if exact else 0.1), stage["id"]
            counted += 1
        if stage["kind"] in ("reference", "tune", "recover"):
            assert stage["tokens"] == took["tokens"]
            cell = took["id"].partition("/")[2] if stage["kind"] != "reference" else f"all-layers/{stage['id'][10:]}"
            rows = [row for row in planned.run.lines("metrics.jsonl") if row["cell"] == cell]
            assert stage["steps"] == len(rows) * stage["trainings"]
    assert counted >= 7


@pytest.mark.parametrize("planned", SLOW, indirect=True)
def test_disk_is_planned_within_20_percent(planned: Planned) -> None:
    total = planned.before["totals"]
    expected = planned.store + planned.beside
    assert total["store_bytes"] + total["run_folder_bytes"] == pytest.approx(expected, rel=0.2)
    assert total["store_bytes"] == pytest.approx(planned.store, rel=0.2)


@pytest.mark.parametrize("planned", SLOW, indirect=True)
def test_memory_is_planned_within_half(planned: Planned) -> None:
    took = max(stage.get("peak_memory", 0) for stage in planned.run.stages.values())
    assert 0.5 < planned.before["totals"]["peak_memory"] / took < 2


@pytest.mark.parametrize("planned", SLOW, indirect=True)
def test_what_is_cached_costs_nothing(planned: Planned) -> None:
    total = planned.after["totals"]
    assert all(stage["cached"] for stage in planned.after["stages"])
    assert (total["trainings"], total["tokens"], total["store_bytes"], total["judge_calls"]) == (0, 0, 0, 0)
    assert total["cached"] == total["stages"] == len(planned.run.stages)


@pytest.mark.parametrize("planned", ["lora"], indirect=True)
def test_only_what_changed_is_counted(planned: Planned) -> None:
    found = _plan(planned.world, "arms.0.select.fraction=0.6")
    left = {stage["id"] for stage in found["stages"] if not stage["cached"]}
    assert "tune/ila-30/chats/seed-0" in left
    assert not left & {"reference/chats/seed-0", "score/ila/chats/seed-0/at-1", "evaluate/base", "layers"}
    more = _plan(planned.world, "seeds=[0,1]")
    assert {stage["cached"] for stage in more["stages"] if "seed-1" in stage["id"]} == {False}
    assert all(stage["cached"] for stage in more["stages"] if "seed-0" in stage["id"])
    assert more["totals"]["trainings"] == planned.before["totals"]["trainings"]


@pytest.mark.parametrize("planned", ["lora"], indirect=True)
def test_a_plan_says_where_its_speed_comes_from(planned: Planned) -> None:
    assert planned.before["speed"]["how"] == "measured"
    again = _plan(planned.world, "seeds=[7]")
    assert again["speed"]["how"] == "kept"
    assert "kept" in planned.world.call("plan", planned.world.recipe, "seeds=[7]").out
    assert again["speed"]["by_kind"] == planned.before["speed"]["by_kind"]
    assert _plan(planned.world, "seeds=[7]", "--measure")["speed"]["how"] == "measured"
    rates = planned.before["speed"]["by_kind"]
    assert 0 < rates["evaluate"] <= rates["read"] <= rates["plain"] <= rates["train"]
    (planned.world.cache / "speeds.json").write_text("{")  # damaged: measured again
    assert _plan(planned.world, "seeds=[7]")["speed"]["how"] == "measured"


@pytest.mark.parametrize("planned", ["lora"], indirect=True)
def test_the_text_has_every_stage_and_the_totals(planned: Planned) -> None:
    told = planned.world.call("plan", planned.world.recipe, "seeds=[0,1]")
    lines = told.out.splitlines()
    for stage in planned.before["stages"]:
        assert any(line.split()[:1] == [stage["id"]] for line in lines)
    for word in ("trainings", "tokens", "time", "memory", "disk"):
        assert any(line.startswith(word) for line in lines)
    assert "80 % power" in told.out
    assert lines[-1].partition(" ")[0] == str(len(_plan(planned.world, "seeds=[0,1]")["stages"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_time_is_planned_within_40_percent(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock of this process, so that other work on the machine changes nothing; torch then has to use one thread.
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    monkeypatch.setattr(time, "monotonic", time.process_time)
    world = World(tmp_path, write(tmp_path, name))
    length = "train.epochs=12" if name == "lora" else "train.steps=40"
    with torch_threads(1):
        before = _plan(world, length)
        run = world.run(length).run
    expected = {stage["id"]: stage["seconds"] for stage in before["stages"] if not stage["cached"]}
    ran = {name: stage["seconds"] for name, stage in run.stages.items() if not stage["cached"] and name in expected}
    assert sum(expected[name] for name in ran) == pytest.approx(sum(ran.values()), rel=0.4)


def test_what_is_not_here_is_named_and_nothing_is_fetched(tmp_path: Path) -> None:
    base = tmp_path / "study"
    base.mkdir()
    recipe = write(base, "lora")
    text = recipe.read_text().replace("path:model", "hub:nobody/no-model-of-that-name")
    recipe.write_text(text)
    world = World(base, recipe)
    found = _plan(world, "--assume", "rows.chats=1000", "--assume", "step.seconds=2")
    assert set(found["missing"]) == {"source/model"}
    assert found["totals"]["trainings"] == 4
    # 1,000 rows, 6 held out, two epochs in batches of 4: 497 steps of 2 s each.
    (reference,) = [stage for stage in found["stages"] if stage["kind"] == "reference"]
    assert (reference["steps"], reference["seconds"], reference["tokens"]) == (497, 994.0, None)
    assert found["totals"]["not_counted"] > 0
    told = world.call("plan", recipe)
    assert "fetch" in told.out
    assert "?" in told.out
    assert not (world.cache / "sources").exists() or not list((world.cache / "sources").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("assumed", "message"),
    [
        ("rows.chat=5", "did you mean 'rows.chats'?"),
        ("loss.items=0.1", "did you mean 'loss.item'?"),
        ("nonsense=1", "there are rows.chats"),
        ("rows.chats=1.5", "a whole number"),
        ("rows.chats=0", "a whole number"),
        ("loss.item=-1", "a number from 0"),
        ("step.seconds=nan", "a number from 0"),
        ("step.seconds", "a number from 0"),
        ("gain=much", "a number from 0"),
    ],
)
@pytest.mark.parametrize("planned", ["lora"], indirect=True)
def test_a_wrong_assumption_costs_one_message(planned: Planned, assumed: str, message: str) -> None:
    told = planned.world.call("plan", planned.world.recipe, "--assume", assumed)
    assert (told.code, len(told.errors)) == (2, 1)
    assert message in told.errors[0]


@pytest.mark.parametrize("planned", ["lora"], indirect=True)
def test_a_pilot_must_be_a_finished_run(planned: Planned) -> None:
    told = planned.world.call("plan", planned.world.recipe, "--pilot", "nothing")
    assert (told.code, len(told.errors)) == (2, 1)
    assert "no run 'nothing'" in told.errors[0]
    found = _plan(planned.world, "--pilot", planned.run.path)
    assert found["pilot"] == f"tiny/{planned.run.path.name}"
    broken = planned.run.path.parent / "000000000000"
    broken.mkdir(exist_ok=True)
    manifest = json.loads((planned.run.path / "manifest.json").read_text())
    (broken / "manifest.json").write_text(json.dumps({**manifest, "status": "failed"}))
    told = planned.world.call("plan", planned.world.recipe, "--pilot", broken)
    assert (told.code, len(told.errors)) == (2, 1)
    assert "name one that is complete" in told.errors[0]
    assert _plan(planned.world)["pilot"] == f"tiny/{planned.run.path.name}"


def test_data_that_cannot_be_used_are_refused_as_a_run_refuses_them(tmp_path: Path) -> None:
    world = World(tmp_path, write(tmp_path, "lora"))
    (tmp_path / "chats.jsonl").write_text('{"nothing": 1}\n')
    told = world.call("plan", world.recipe)
    ran = world.run()
    assert told.code == ran.code == 2
    assert told.errors == ran.errors
