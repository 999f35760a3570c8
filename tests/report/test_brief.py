"""The answer on the terminal says what the report says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from layersig.report.material import Material
from layersig.topics.analyse import analyse
from layersig.topics.brief import brief
from layersig.topics.render import material_of
from tests.report.synthetic import Study, write_run

STUDY = Study(blocks=4, data=("alpaca", "lima"), seeds=(0, 1), tasks=(("arc_easy", 20),), heldout=8, steps=4)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return analysed(tmp_path_factory.mktemp("brief") / "run", STUDY)


def analysed(run: Path, study: Study) -> Material:
    recipe = write_run(run, study)
    recipe = recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"resamples": 100})})
    analyse(run, recipe)
    return material_of(run)


def tables(text: str) -> dict[str, dict[str, list[str]]]:
    """The cells of every table by data set and arm."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if named := re.search(r"trained on (\w+):", line):
            found[named[1]] = {}
        elif found and re.search(r"\d+ of \d+", line):
            arm, *cells = re.split(r"  +", line)
            found[list(found)[-1]][arm] = cells
    return found


def written(material: Material, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((material.run / "analysis.json").read_text())[table]
    return rows


def test_every_arm_of_every_data_set_has_the_numbers_and_verdicts_of_the_analysis(material: Material) -> None:
    shown = tables(brief(material))
    assert list(shown) == list(STUDY.data)
    compared = 0
    for data, arms in shown.items():
        for row in written(material, "shares"):
            if row["data"] == data and row["task"] == f"heldout/{data}" and row["shape"] == "interval":
                layers, kept, *_ = arms[row["arm"]]
                assert kept.startswith(f"{100 * row['share']:.0f} % (") or kept == "\u2013"
                assert re.fullmatch(r"\d+(\.\d)? of 28", layers)
        for row in written(material, "comparisons"):
            column = {"random control": 2, "baseline": 3}.get(row["role"])
            if (row["data"], row["task"]) == (data, f"heldout/{data}") and column and row["arm"] in arms:
                told = arms[row["arm"]][column]
                assert told.split(",")[0].split(" ")[0] in row["verdict"] or told in ("cannot be told", "\u2013")
                compared += 1
    assert compared >= 4


def test_it_says_how_far_it_reaches_and_when_it_means_nothing(tmp_path: Path, material: Material) -> None:
    assert "2 seeds (about the method)" in brief(material)
    assert "smoke" not in brief(material)
    one = analysed(tmp_path / "one", Study(blocks=2, data=("alpaca",), seeds=(0,), tasks=(), heldout=8, steps=4))
    assert "1 seed (about these checkpoints, not the method)" in brief(one)


def test_a_run_without_arms_names_layers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, Study(blocks=2, data=("alpaca",), seeds=(0, 1), tasks=(), heldout=8, steps=4))
    (run / "selections.jsonl").write_text("")
    analyse(run, recipe)
    told = brief(material_of(run))
    assert told.startswith("By ila on alpaca (2 seeds)")
