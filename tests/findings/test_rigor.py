from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from layersig.findings import analyse
from layersig.findings.rows import RigorRow
from tests.report.synthetic import Study, write_run

ONE = Study(
    blocks=4, data=("alpaca>sample",), seeds=(0,), tasks=(("arc_easy", 20),), heldout=8, steps=6, declared=False
)
MANY = Study(blocks=4, data=("alpaca",), seeds=(0, 1, 2), tasks=(("arc_easy", 20),), heldout=8, steps=6)


def card(run: Path, study: Study) -> dict[str, RigorRow]:
    return {row.item: row for row in analyse(run, write_run(run, study)).rigor}


def test_one_seed_is_told_as_not_met(tmp_path: Path) -> None:
    rows = card(tmp_path / "run", ONE)
    not_met = {item for item, row in rows.items() if row.status == "not met"}
    assert {"n and seeds", "sources as declared and pinned", "declared before the run"} <= not_met
    assert "One training run per arm" in rows["n and seeds"].evidence
    assert "alpaca" in rows["sources as declared and pinned"].evidence
    assert rows["judge"].status == "does not apply"


def test_several_seeds_and_a_declaration_are_told_as_met(tmp_path: Path) -> None:
    rows = card(tmp_path / "run", MANY)
    met = {item for item, row in rows.items() if row.status == "met"}
    assert {
        "n and seeds",
        "error bars",
        "tests",
        "correction for many tests",
        "declared before the run",
        "prompts",
    } <= met
    assert "ila-75" in rows["baselines of equal budget"].evidence


@pytest.mark.parametrize(
    ("match", "words"),
    [("types", "number of each type"), ("layers", "number of layers"), ("parameters", "number of weights")],
)
def test_the_card_says_what_random_controls_match(tmp_path: Path, match: str, words: str) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, ONE)
    arms = tuple(
        arm.model_copy(update={"select": arm.select.model_copy(update={"match": match})})
        if arm.select.kind == "matched-random"
        else arm
        for arm in recipe.arms
    )
    recipe = recipe.model_copy(update={"arms": arms})
    (row,) = (row for row in analyse(run, recipe).rigor if row.item == "baselines of equal budget")
    assert f"random layers with the same {words} beside them" in row.evidence


def test_overlap_with_benchmarks_is_told_from_its_files(tmp_path: Path) -> None:
    item, run = "overlap of training data with benchmarks", tmp_path / "run"
    recipe = write_run(run, ONE)
    (row,) = (row for row in analyse(run, recipe).rigor if row.item == item)
    assert row.status == "met"
    assert "1 of 1 pairs" in row.evidence
    assert "arc_easy in alpaca>sample 2 of 20, heldout in alpaca>sample 0 of 8" in row.evidence
    shutil.rmtree(run / "overlap")
    (row,) = (row for row in analyse(run, recipe).rigor if row.item == item)
    assert row.status == "not met"
    assert "0 of 1 pairs" in row.evidence


@pytest.mark.parametrize(
    ("missing", "item"), [("evaluations", "error bars"), ("scores.jsonl", "overlap beside chance and noise")]
)
def test_what_is_not_there_does_not_apply(tmp_path: Path, missing: str, item: str) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    shutil.rmtree(run / missing) if (run / missing).is_dir() else (run / missing).unlink()
    assert {row.item: row.status for row in analyse(run, recipe).rigor}[item] == "does not apply"
