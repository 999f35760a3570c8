"""The answer on the terminal says what the report says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from layersig.analysis.verdicts import Verdict
from layersig.report.document import Callout, Paragraph, Steps, plain
from layersig.report.material import Material
from layersig.report.terminal import VERDICTS
from layersig.topics.analyse import analyse
from layersig.topics.brief import brief
from layersig.topics.front.page import first_screen
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


def cells(text: str, arm: str) -> list[str]:
    """The row of an arm."""
    lines = text.splitlines()
    (line,) = [line for line in lines if re.match(rf"{re.escape(arm)}( \(\w+\))?  +\d", line)]
    return re.split(r"  +", line)


def written(material: Material, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((material.run / "analysis.json").read_text())[table]
    return rows


def test_every_arm_has_the_shares_and_verdicts_of_the_analysis(material: Material) -> None:
    text = brief(material)
    head = next(re.split(r"  +", line) for line in text.splitlines() if line.startswith("arm  "))
    assert head == ["arm", "layers", "weights", *STUDY.data, "against random", "against rule", "against all-layers"]
    compared = 0
    for row in written(material, "shares"):
        if row["task"] == f"heldout/{row['data']}" and row["shape"] == "interval":
            found = cells(text, row["arm"])
            assert found[head.index(row["data"])].startswith(f"{100 * row['share']:.0f} % (")
            assert re.fullmatch(r"\d+(\.\d)? of 28", found[1])
    for row in written(material, "comparisons"):
        if row["task"] == f"heldout/{row['data']}" and row["role"] == "baseline" and row["arm"] != "base":
            words = VERDICTS[Verdict(row["verdict"])]
            assert cells(text, row["arm"])[-1] in (words, "as good as all layers") or f"{row['data']}: {words}" in text
            compared += 1
    assert compared >= 4


def test_it_is_the_first_screen_of_the_report(material: Material) -> None:
    headline, blocks = first_screen(material)
    text = " ".join(brief(material).split())
    assert text.startswith(headline)
    for block in blocks:
        if isinstance(block, Callout):
            assert all(plain(item) in text for item in block.items)
        if isinstance(block, Steps):
            assert all(step.command in text for step in block.items)
        if isinstance(block, Paragraph):
            assert plain(block.text).partition(": ")[2] in text


def test_the_map_marks_the_layers_of_the_selection(material: Material) -> None:
    (line, *_) = [line for line in brief(material).splitlines() if line.startswith("self_attn.v_proj  ")]
    rows = [r for r in written(material, "selected_layers") if (r["arm"], r["data"]) == ("ila-30", "alpaca")]
    runs = {r["block"]: r["selected"] for r in rows if r["kind"] == "self_attn.v_proj"}
    marks = {0: "\u00b7", 1: "\u25aa", 2: "\u25a0"}
    assert line.split()[1] == "".join(marks[runs.get(block, 0)] for block in range(STUDY.blocks))


def test_a_run_without_arms_names_layers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, Study(blocks=2, data=("alpaca",), seeds=(0, 1), tasks=(), heldout=8, steps=4))
    (run / "selections.jsonl").write_text("")
    analyse(run, recipe)
    told = brief(material_of(run))
    assert "By ila on alpaca (2 seeds)" in told
