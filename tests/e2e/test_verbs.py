"""Every verb on a run that there is, for people and for programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from layersig.recipe.bundled import SCHEMA_LINE, shipped
from layersig.recipe.load import load
from tests.e2e.world import Run, World


@pytest.fixture
def runs(world: World, first: Run, tmp_path: Path) -> Path:
    """A folder of runs with one run in it."""
    folder = tmp_path / "some-runs"
    shutil.copytree(first.path, folder / "tiny" / first.path.name)
    return folder


@pytest.mark.parametrize("by", ["tiny", "id", "start", "name/id", "path"])
def test_status_finds_a_run_by_any_of_its_names(world: World, first: Run, runs: Path, by: str) -> None:
    name = first.path.name
    wanted = {"tiny": "tiny", "id": name, "start": name[:4], "name/id": f"tiny/{name}", "path": runs / "tiny" / name}
    told = world.call("status", wanted[by], "--runs", runs, "--json")
    assert told.code == 0, told.err
    assert told.json["status"] == "complete"
    assert told.json["stages"] == first.manifest["stages"]
    text = world.call("status", wanted[by], "--runs", runs).out
    assert text.startswith(f"tiny/{name}: complete ({len(first.stages)} done)")
    assert all(stage in text for stage in first.stages)


def test_runs_are_listed_oldest_first(world: World, first: Run, runs: Path) -> None:
    older = runs / "tiny" / "000000000000"
    shutil.copytree(first.path, older)
    manifest = {**first.manifest, "started": "2020-01-01T00:00:00+00:00", "status": "failed"}
    (older / "manifest.json").write_text(json.dumps(manifest))
    told = world.call("runs", "--runs", runs, "--json")
    assert [(row["run"], row["status"]) for row in told.json["runs"]] == [
        ("tiny/000000000000", "failed"),
        (f"tiny/{first.path.name}", "complete"),
    ]
    assert world.call("runs", "--runs", runs).out.splitlines()[0].endswith("tiny/000000000000")
    empty = world.call("runs", "--runs", runs / "none", "--json")
    assert (empty.code, empty.json) == (0, {"runs": []})


def test_a_report_needs_the_run_folder_alone(world: World, first: Run, runs: Path, tmp_path: Path) -> None:
    run = Run(runs / "tiny" / first.path.name)
    before = {name: (run.path / name).read_bytes() for name in ("report.html", "report.md", "analysis.json")}
    for name in before:
        (run.path / name).unlink()
    shutil.rmtree(run.path / "figures")
    told = world.call("report", "tiny", "--runs", runs, "--json", cache=tmp_path / "no-cache")
    assert told.code == 0, told.err
    assert told.json["report"] == str(run.path / "report.html")
    assert run.files() == first.files()
    for name, content in before.items():
        assert (run.path / name).read_bytes() == content, name


def test_the_same_recipe_in_two_folders_is_not_run_once(world: World, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(world.recipe.read_text())
        shutil.copytree(world.recipe.parent / "model", tmp_path / name / "model")
        for file in ("chats.jsonl", "choice.yaml", "choice.jsonl"):
            shutil.copy(world.recipe.parent / file, tmp_path / name)
    told = world.call("run", tmp_path / "a" / "recipe.toml", tmp_path / "b" / "recipe.toml")
    assert (told.code, told.out) == (2, "")
    assert "say the same in two folders" in told.err


def test_plan_lists_the_stages_that_run_runs(world: World, first: Run) -> None:
    told = world.call("plan", world.recipe, "--json")
    assert [stage["id"] for stage in told.json["stages"]] == list(first.stages)
    tune = next(stage for stage in told.json["stages"] if stage["id"] == "tune/ila-30/chats/seed-0")
    assert tune["kind"] == "tune"
    assert set(tune["inputs"]) == {"source/model", "layers", "data/chats", "select/ila-30/chats/seed-0"}
    assert world.call("plan", world.recipe).out.splitlines()[-1].startswith(f"{len(first.stages)} stages")


def test_fetch_tells_where_everything_lies(world: World) -> None:
    told = world.call("fetch", world.recipe, "--json")
    assert told.code == 0, told.err
    rows = {row["spec"]: row for row in told.json["sources"]}
    assert set(rows) == {"path:model", "file:chats.jsonl", "file:choice.yaml"}
    assert all(Path(row["path"]).exists() and row["error"] is None for row in rows.values())
    assert world.run("--offline").run.ran == set()


def test_doctor_speaks_of_this_machine(world: World) -> None:
    found = world.call("doctor", "--json").json
    assert found.keys() >= {"versions", "machine", "device", "dtype", "dtype_reason", "cache", "free_gib"}
    assert found["cache"] == str(world.cache)
    assert "torch" in world.call("doctor").out
    assert found["verdict"] == "ready" or found["verdict"].startswith("less than")


def test_plugins_lists_what_recipes_may_name(world: World) -> None:
    found = world.call("plugins", "--json").json
    names = {(row["kind"], row["name"]) for row in found["components"]}
    scorers = {"ila", "random", "first-k", "last-k", "gradient-norm"}
    policies = {"top", "freeze", "intersection", "union", "matched-random", "list"}
    assert names >= {*(("scorer", name) for name in scorers), *(("policy", name) for name in policies)}
    assert "gradient-norm" in world.call("plugins").out


def test_schema_is_json_schema_of_a_recipe(world: World) -> None:
    schema = json.loads(world.call("schema").out)
    assert {"name", "model", "data", "train", "scorers", "arms", "evaluate", "analyze"} <= schema["properties"].keys()
    assert set(schema["required"]) == {"name", "data"}  # and `model`, or `models`


def test_recipes_are_listed_shown_and_copied(world: World, tmp_path: Path) -> None:
    rows = world.call("recipes", "ls", "--json").json["recipes"]
    assert {row["recipe"] for row in rows} == {
        path.relative_to(shipped()).with_suffix("").as_posix() for path in shipped().rglob("*.toml")
    }
    assert all(row["about"] for row in rows)
    text = (shipped() / "quickstart.toml").read_text()
    assert world.call("recipes", "show", "quickstart").out == text
    copied = world.call("recipes", "cp", "quickstart", tmp_path)
    assert copied.out.strip() == str(tmp_path / "quickstart.toml")
    assert (tmp_path / "quickstart.toml").read_text() == SCHEMA_LINE + text
    again = world.call("recipes", "cp", "quickstart", tmp_path)
    assert (again.code, len(again.errors)) == (2, 1)
    assert world.call("validate", tmp_path / "quickstart.toml").code == 0


def test_validate_tells_all_faults_of_all_recipes(world: World, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    text = world.recipe.read_text()
    for right, wrong in {"rank = 2": "rnak = 2", "steps = 3": 'steps = "x"', 'kind = "top"': 'kind = "tpo"'}.items():
        text = text.replace(right, wrong, 1)
    bad.write_text(text)
    told = world.call("validate", world.recipe, bad, "--json")
    assert told.code == 2
    assert told.json["valid"] == [str(world.recipe)]
    (fault,) = told.json["faults"].values()
    for place in ("train.rnak", "rank", "train.steps", "arms.0.select.kind", 'did you mean "top"'):
        assert place in fault
    assert f"{bad}:" in fault
    good = world.call("validate", world.recipe, "--json")
    assert (good.code, good.json["faults"], good.err) == (0, {}, "")


def test_smoke_runs_every_stage_shortly_as_a_run_of_its_own(world: World, first: Run) -> None:
    smoke = world.run("--smoke", "train.steps=50").run
    assert smoke.path.name != first.path.name
    assert smoke.manifest["smoke"] is True
    assert set(smoke.stages) == set(first.stages)
    steps = [row["step"] for row in smoke.lines("metrics.jsonl")]
    assert (min(steps), max(steps)) == (1, 2)
    results = json.loads((smoke.path / "evaluations" / "base" / "results.json").read_text())["tasks"]
    assert {name: task["n"] for name, task in results.items()} == {"heldout/chats": 4, "choice": 4}
    assert load(smoke.path / "resolved.toml").recipe.train.steps == 2
    told = world.call("export", smoke.path, "ila-30", "--to", "names")
    assert (told.code, "is a smoke run, whose choice of layers means nothing" in told.err) == (0, True)


@pytest.mark.parametrize("words", [("run", "missing.toml"), ("run", "recipe.toml", "model.source=path:nowhere")])
def test_a_run_that_cannot_start_leaves_nothing_behind(world: World, tmp_path: Path, words: tuple[str, ...]) -> None:
    told = world.call(*words, "--runs", tmp_path / "new")
    assert (told.code, told.out, len(told.errors)) == (2, "", 1)
    assert not list((tmp_path / "new").rglob("manifest.json"))
