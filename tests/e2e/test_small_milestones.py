"""`small/until` and `small/table-04` on a tiny model: trainings end early, and milestones have their time."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.e2e.world import World
from tests.study import write_study

RECIPES = Path(__file__).parents[2] / "recipes" / "small"
TINY = ("model.source=path:model", "data.0.source=file:chats.jsonl", "data.0.limit=24", "data.0.heldout=6")


def run(folder: Path, name: str, *overrides: str) -> Path:
    """A complete run of a recipe on a tiny model and a few conversations."""
    write_study(folder)
    scorers = tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8"))["scorers"]
    short = [f"scorers.{scorer}.steps=2" for scorer in scorers]
    told = World(folder, RECIPES / f"{name}.toml").run(*TINY, "analyze.resamples=100", *short, *overrides)
    assert told.code == 0, told.err
    return Path(told.json["run"])


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def references(folder: Path) -> list[dict[str, Any]]:
    stages = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["stages"]
    return [stage for stage in stages if stage["kind"] == "reference"]


def test_with_until_trainings_end_where_the_ranking_is_stable(tmp_path: Path) -> None:
    folder = run(tmp_path, "until", "seeds=[0]", "train.steps=40")
    rows = table(folder, "trainings.csv")
    trained = references(folder)
    assert len(rows) == len(trained) == 1
    for row, stage in zip(rows, trained, strict=True):
        taken, planned, step = int(row["steps"]), int(row["planned_steps"]), float(row["seconds_per_step"])
        assert planned == 40
        assert taken == int(row["rank_stable_at"]) == stage["steps"] < planned
        assert step == pytest.approx(stage["seconds_per_token"] * stage["tokens"] / taken)
        assert float(row["seconds_saved"]) == pytest.approx((planned - taken) * step)
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "Length and stability of the loss" in report
    assert "where the ranking was stable" in report


@pytest.mark.slow
def test_milestones_have_the_time_of_the_training_up_to_them(tmp_path: Path) -> None:
    folder = run(tmp_path, "table-04", "seeds=[0,1]")
    whole = fmean(stage["seconds_per_token"] * stage["tokens"] for stage in references(folder))
    rows = table(folder, "milestones.csv")
    assert {float(row["checkpoint"]) for row in rows} == {0.05, 0.25, 0.5, 0.75}
    for row in rows:
        assert float(row["seconds"]) == pytest.approx(float(row["checkpoint"]) * whole)
    assert "How early does the ranking settle?" in (folder / "report.md").read_text(encoding="utf-8")
