from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.world import World
from tests.study import RECIPE, call, write_study

pytestmark = pytest.mark.slow

GRAFTS = """\
[[arms]]
name = "ila"
scorer = "ila"
select = { kind = "top" }
grid.select.fraction = [0.2, 0.6]
action = "graft"

[evaluate]
tasks = ["file:choice.yaml"]
"""


def swept(arms: str) -> str:
    return RECIPE[: RECIPE.index("[[arms]]")] + arms


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    return World(folder, write_study(folder, recipe=swept(GRAFTS))).run().run.path


def rows(run: Path, table: str) -> list[dict[str, Any]]:
    return list(json.loads((run / "analysis.json").read_text())[table])


def test_one_table_of_a_grid_is_run_as_arms_with_controls_at_every_point(run: Path) -> None:
    points = [row for row in rows(run, "sweep_points") if row["primary"] and row["task"] == "heldout/chats"]
    told = {series: [row["x"] for row in points if row["series"] == series] for series in {r["series"] for r in points}}
    assert told == {"arm": [0.2, 0.6, 1.0], "random control": [0.2, 0.6], "rule control": [0.2, 0.6]}


def test_the_trend_and_the_optimum_follow_from_the_items(run: Path) -> None:
    """From `items.jsonl` alone, by scipy and numpy."""
    order = ["ila-0.2", "ila-0.6", "all-layers"]
    losses = []
    for arm in order:
        (path,) = (run / "evaluations" / arm).glob("**/items.jsonl")
        found = [json.loads(line) for line in path.read_text().splitlines()]
        own = {row["item"]: row for row in found if row["task"] == "heldout/chats"}
        values, weights = (np.array([own[item][key] for item in sorted(own)]) for key in ("value", "weight"))
        losses.append((values, weights))
    means = [np.average(values, weights=weights) for values, weights in losses]
    (row,) = [r for r in rows(run, "sweeps") if (r["task"], r["against"]) == ("heldout/chats", None)]
    assert row["slope"] == pytest.approx(np.polyfit(range(3), means, 1)[0])
    assert row["best"] == (0.2, 0.6, 1.0)[int(np.argmin(means))]
    assert row["best_low"] <= row["best"] <= row["best_high"]
    assert row["declared"]


def test_the_report_shows_the_curve_and_says_what_it_shows(run: Path) -> None:
    page = (run / "report.md").read_text()
    assert "What varies with what" in page
    assert (run / "figures" / "sweeps.svg").read_text().count("<path") > 6
    for row in rows(run, "sweeps"):
        if row["primary"]:
            assert row["sentence"].split(":")[0] in ("Declared", "Exploratory")
    written = list(csv.DictReader((run / "sweep_points.csv").read_text().splitlines()))
    assert len(written) == len(rows(run, "sweep_points"))


def test_the_run_keeps_the_recipe_with_every_arm(run: Path) -> None:
    text = (run / "resolved.toml").read_text()
    assert 'name = "ila-0.6.random"' in text
    assert "grid" not in text


def test_plan_shows_the_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "plan", write_study(tmp_path, recipe=swept(GRAFTS)))
    assert code == 0
    assert "ila-0.2" in out
    assert "ila-0.6.rule" in out
