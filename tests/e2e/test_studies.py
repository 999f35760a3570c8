"""The recipes of open questions: all are valid, and the small ones run on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from layersig.pipeline import stages
from layersig.recipe.load import load, load_all
from tests.e2e.world import World
from tests.study import write_lines, write_study
from tests.tiny import save_tiny

RECIPES = Path(__file__).parents[2] / "recipes" / "studies"
TASK = "evaluate.tasks=[{source='file:choice.yaml', limit=4}]"
ROWS = [
    {"instruction": f"say {number}", "input": "" if number % 2 else "loudly", "output": f"{number} abc {number * 7}"}
    for number in range(40)
]
DATA = ["data.0.source=file:rows.jsonl", "data.1.source=file:rows.jsonl", "data.2.source=file:chats.jsonl"]
OVERRIDES: Mapping[str, list[str]] = {
    "small-fraction": ["data.0.source=file:rows.jsonl", TASK, "arms.0.grid.select.fraction=[0.2, 0.6]"],
    "small-size": ["data.0.source=file:rows.jsonl", TASK, "data.0.grid.train_limit=[4, 8]"],
    "small-diversity": [*DATA, "seeds=[0]"],
    "small-kinds": ["data.0.source=file:rows.jsonl", "data.1.source=file:chats.jsonl", TASK],
    "small-architectures": [
        "data.0.source=file:rows.jsonl",
        "models.0.source=path:model",
        "models.1.source=path:other",
    ],
}


def test_every_small_recipe_has_a_large_one_and_is_run() -> None:
    names = {path.stem for path in RECIPES.glob("*.toml")}
    assert names == {*OVERRIDES, *(name.removeprefix("small-") for name in OVERRIDES)}


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_a_large_recipe_varies_its_small_one_does_too(name: str) -> None:
    small, large = (load_all(RECIPES / f"{each}.toml")[0] for each in (name, name.removeprefix("small-")))
    assert {sweep.quantity for sweep in small.recipe.sweeps} == {sweep.quantity for sweep in large.recipe.sweeps}
    assert len(large.recipe.seeds) == 5
    for each in (small, large):
        graph = stages(each.recipe, each.components)
        ids = {stage.id for stage in graph.stages}
        assert all(f"evaluate/{arm.name}/{each.recipe.data[0].name}/seed-0" in ids for arm in each.recipe.arms)


def test_every_share_has_its_controls_and_the_baseline_is_the_last_point() -> None:
    found = load(RECIPES / "fraction.toml").recipe
    (sweep,) = found.sweeps
    assert (sweep.values[0], sweep.values[-1], len(sweep.values)) == (0.05, 0.9, 10)
    followed = {arm.select.params.get("like") for arm in found.arms if arm.select.kind == "matched-random"}
    assert followed == {*sweep.entries}


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERRIDES)
def test_it_runs(name: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    write_lines(tmp_path / "rows.jsonl", ROWS)
    world = World(tmp_path, RECIPES / f"{name}.toml")
    if name == "small-architectures":
        save_tiny(tmp_path / "other", "gpt_neox")
        told = world.run("--smoke", "analyze.resamples=100", *OVERRIDES[name])
        assert told.code == 0, told.err
        page = (tmp_path / told.json["report"]).with_suffix(".md").read_text()
        assert "the ranking of smollm2 on the layers of pythia" in page
        return
    run = world.run("--smoke", "model.source=path:model", "analyze.resamples=100", *OVERRIDES[name]).run
    page, analysis = (run.path / "report.md").read_text(), json.loads((run.path / "analysis.json").read_text())
    assert ("What varies with what" in page) is (name in ("small-fraction", "small-size"))
    assert ("Layers of one data set on another" in page) is (name == "small-kinds")
    assert "diversity: responses: in segments" in page or "diversity: responses: distinct: 1" in page
    if name == "small-size":
        assert {row["task"] for row in analysis["sweeps"] if row["primary"]} == {"heldout/alpaca-4", "choice"}
