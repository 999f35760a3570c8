"""The recipes in `small/`, on a tiny model and a few conversations."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.e2e.world import World
from tests.recompute import mismatches
from tests.study import call, write_study

RECIPES = Path(__file__).parents[2] / "recipes" / "small"
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))
CARRIED = "table-14"
"""Reads the rankings of a run of table-03."""


def run(folder: Path, name: str, *overrides: str) -> Path:
    """A run with sources of its own, but for files that lie beside the recipe, which must end well."""
    path = RECIPES / f"{name}.toml"
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    sources = [
        f"data.{number}.source=file:chats.jsonl"
        for number, data in enumerate(values["data"])
        if not data["source"].startswith("file:")
    ]
    tasks = values.get("evaluate", {}).get("tasks", [])
    if any(not task["source"].startswith("file:") for task in tasks):
        sources.append("evaluate.tasks=[{source='file:choice.yaml', limit=4}]")
    told = World(folder, path).run("--smoke", "model.source=path:model", "analyze.resamples=100", *sources, *overrides)
    assert told.code == 0, told.err
    return Path(told.json["run"])


@pytest.mark.slow
def test_a_scorer_of_ones_own_is_compared_with_others_as_recomputed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path)
    folder = run(tmp_path, "own-scorer", "seeds=[0, 1, 2]")
    assert list(mismatches(folder)) == []
    analysis = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    declared = {(row["arm"], row["reference"]) for row in analysis["comparisons"] if row["declared"]}
    assert declared == {
        ("mine-30", "all-layers"),
        ("mine-30", "ila-30"),
        ("mine-30", "random-30"),
        ("ila-30", "random-30"),
    }
    rivals = {(row["arm"], row["reference"]) for row in analysis["comparisons"] if row["role"] == "other scorer"}
    assert rivals == {
        ("mine-30", "gradient-norm-30"),
        ("ila-30", "gradient-norm-30"),
        ("gradient-norm-30", "random-30"),
    }
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "### Named contrasts" in report
    assert "### Scorers against each other" in report
    sentences = {(row["arm"], row["reference"]): row["sentence"] for row in analysis["comparisons"]}
    for one, other in (("ila-30", "mine-30"), ("mine-30", "ila-30"), ("gradient-norm-30", "mine-30")):
        names = (f"{folder}:{one}", f"{folder}:{other}")
        code, _, err = call(capsys, "compare", *names, "--output", tmp_path / f"{one}-{other}")
        assert code == 0, err
        assert ("declared this comparison" in err) == ("gradient-norm-30" not in (one, other))
        assert (sentences["mine-30", "ila-30"] in err) == ("gradient-norm-30" not in (one, other))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("own-scorer", CARRIED)])
def test_it_runs(name: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    folder = run(tmp_path, name)
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["status"] == "complete"


@pytest.mark.slow
def test_a_ranking_is_carried_from_another_run(tmp_path: Path) -> None:
    write_study(tmp_path)
    other = run(tmp_path, "table-03")
    folder = run(tmp_path, CARRIED, f"scorers.carried.source=file:{other}")
    analysis = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    assert ("carried-75", "ila-75") in {(row["arm"], row["reference"]) for row in analysis["comparisons"]}
