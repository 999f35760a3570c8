from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from layersig.findings import analyse
from layersig.findings.rows import RigorRow
from layersig.report import render
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


def test_comparisons_that_do_not_vary_are_no_proof_of_power(tmp_path: Path) -> None:
    """A task on which no arm differs anywhere is not powered, though nothing can be computed for it."""
    run = tmp_path / "run"
    recipe = write_run(run, ONE)
    for path in (run / "evaluations").glob("**/items.jsonl"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if '"arc_easy"' not in line or '"acc"' not in line) + "\n")
        with path.open("a") as file:
            file.writelines(f'{{"task":"arc_easy","item":"i{i}","metric":"zeta","value":1.0}}\n' for i in range(20))
    analyze = recipe.analyze.model_copy(update={"margins": {"loss": 9.0, "zeta": 0.1}})
    findings = analyse(run, recipe.model_copy(update={"analyze": analyze}))
    (row,) = (row for row in findings.rigor if row.item == "power")
    still = sum(r.task == "arc_easy" and r.primary and r.arm != "base" for r in findings.comparisons)
    assert still > 0
    assert row.status == "not met"
    assert f"of {still} nothing varied, so that their power is not known" in row.evidence


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (MANY, "Holm's method over 1 declared tests (a single test needs no correction), and in 4 exploratory"),
        (ONE, "Holm's method over 0 declared tests, and in 4 exploratory families of"),
    ],
)
def test_the_declared_family_is_named_apart(tmp_path: Path, study: Study, words: str) -> None:
    assert words in card(tmp_path / "run", study)["correction for many tests"].evidence


@pytest.mark.parametrize("others", [0, 1, 4])
def test_other_declarations_on_record_are_counted(tmp_path: Path, others: int) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in manifest["stages"]:
        if stage["kind"] == "evaluate":
            stage["other_declarations"] = others
    (run / "manifest.json").write_text(json.dumps(manifest))
    findings = analyse(run, recipe)
    (row,) = (row for row in findings.rigor if row.item == "declared before the run")
    assert f"on record by then: {others}." in row.evidence
    assert findings.other_declarations == others
    render(run)
    told = f"{others} other declaration{'' if others == 1 else 's'} for this model"
    assert (told in (run / "report.md").read_text()) == (others > 0)
