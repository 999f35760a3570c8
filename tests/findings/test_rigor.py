from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layersig.findings import analyse
from layersig.findings.rows import RigorRow
from layersig.recipe.schema import AboutSettings, ScorerChoice
from layersig.report import render
from tests.report.synthetic import Study, write_run

ONE = Study(
    blocks=4, data=("alpaca>sample",), seeds=(0,), tasks=(("arc_easy", 20),), heldout=8, steps=6, declared=False
)
MANY = Study(blocks=4, data=("alpaca",), seeds=(0, 1, 2, 3, 4), tasks=(("arc_easy", 20),), heldout=8, steps=6)


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
        "overlap beside chance and noise",
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
    assert f"random layers with the same {words} as a control" in row.evidence


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
    ("missing", "item"),
    [("evaluations", "untouched model as baseline"), ("scores.jsonl", "overlap beside chance and noise")],
)
def test_what_is_not_there_does_not_apply(tmp_path: Path, missing: str, item: str) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    shutil.rmtree(run / missing) if (run / missing).is_dir() else (run / missing).unlink()
    assert {row.item: row.status for row in analyse(run, recipe).rigor}[item] == "does not apply"


def of_rankings(run: Path, study: Study) -> dict[str, RigorRow]:
    """The card of a study that ranks layers and tunes no arm."""
    recipe = write_run(run, study).model_copy(update={"arms": ()})
    for name in ("evaluations", "selections.jsonl"):
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    return {row.item: row for row in analyse(run, recipe).rigor}


DEEP = Study(blocks=30, data=("norobots", "lima"), seeds=(0, 1, 2, 3, 4), tasks=(), heldout=4, steps=2)


def test_a_study_of_rankings_is_judged_and_not_passed_over(tmp_path: Path) -> None:
    rows = of_rankings(tmp_path / "run", DEEP)
    met = {"error bars", "tests", "correction for many tests", "effect sizes", "n and seeds", "power"}
    assert {item: rows[item].status for item in met} == dict.fromkeys(met, "met")
    assert rows["overlap beside chance and noise"].status == "met"
    assert rows["tests"].evidence.startswith("4 of 4 pairs of rankings are tested")
    assert "16 overlaps (pairs x sizes x tests)" in rows["correction for many tests"].evidence
    assert rows["n and seeds"].evidence == "S = 5 seeds per ranking; 5 are needed."
    assert rows["declared before the run"].status == "not met"
    assert "exploratory" in rows["declared before the run"].evidence


@pytest.mark.parametrize(
    ("study", "item", "words"),
    [
        (replace(DEEP, seeds=(0, 1)), "n and seeds", "S = 2 seeds per ranking; 5 are needed"),
        (replace(DEEP, seeds=(0, 1)), "power", "0 of 8 noise ceilings"),
        (replace(DEEP, seeds=(0, 1)), "error bars", "0 of 20 agreements of rankings have an interval"),
        (replace(DEEP, seeds=(0,)), "overlap beside chance and noise", "In 0 of 8 rankings x sizes"),
        (replace(DEEP, seeds=(0, 1, 2, 3)), "n and seeds", "S = 4 seeds per ranking"),
        (replace(DEEP, blocks=3), "tests", "0 of 4 pairs of rankings are tested"),
    ],
    ids=["two seeds", "no ceiling", "no interval", "one seed", "four seeds", "a shallow model"],
)
def test_a_study_of_rankings_that_cannot_tell_is_not_met(tmp_path: Path, study: Study, item: str, words: str) -> None:
    row = of_rankings(tmp_path / "run", study)[item]
    assert row.status == "not met"
    assert words in row.evidence


def test_seeds_that_agree_by_chance_alone_fail_the_card(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, DEEP)
    rng = np.random.default_rng(3)
    lines = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    for line in lines:
        if line["scorer"] == "ila":
            line["scores"] = dict(zip(line["scores"], rng.uniform(size=len(line["scores"])).tolist(), strict=True))
    (run / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (row,) = (row for row in analyse(run, recipe).rigor if row.item == "overlap beside chance and noise")
    assert row.status == "not met"
    assert "not in: ila on lima (S = 5), ila on norobots (S = 5)" in row.evidence


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5, 6])
def test_five_runs_are_needed(tmp_path: Path, seeds: int) -> None:
    study = replace(MANY, seeds=tuple(range(seeds)))
    row = card(tmp_path / "run", study)["n and seeds"]
    assert row.status == ("met" if seeds >= 5 else "not met")


def test_items_that_cannot_detect_the_margin_say_how_many_would(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    findings = analyse(run, recipe)
    (row,) = (row for row in findings.rigor if row.item == "power")
    rows = [r for r in findings.comparisons if r.primary and r.arm != "base" and r.margin]
    wanted = [math.ceil(r.n * (r.detectable / r.margin) ** 2) for r in rows if r.detectable and r.detectable > r.margin]
    assert row.status == "not met"
    assert f"the others would take {min(wanted)} to {max(wanted)} items" in row.evidence
    wide = recipe.model_copy(
        update={"analyze": recipe.analyze.model_copy(update={"margins": {"loss": 9.0, "acc": 0.99}})}
    )
    (row,) = (row for row in analyse(run, wide).rigor if row.item == "power")
    assert row.status == "met"


def test_a_declaration_that_came_late_for_one_arm_is_not_met(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    analyze = recipe.analyze.model_copy(update={"primary": ("ila-30", "ila-75")})
    recipe = recipe.model_copy(update={"analyze": analyze})
    rows = {row.item: row for row in analyse(run, recipe).rigor}
    assert rows["declared before the run"].evidence.startswith("2 of 2 comparisons that the recipe declares")
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in manifest["stages"]:
        if stage["cell"].get("arm") == "ila-75":
            stage["declared"] = False
    (run / "manifest.json").write_text(json.dumps(manifest))
    row = {row.item: row for row in analyse(run, recipe).rigor}["declared before the run"]
    assert (row.status, row.evidence[:6]) == ("not met", "1 of 2")


STATED = {
    "interests": {"interests": "none"},
    "funding": {"funding": "A grant of nobody"},
    "validity of the outcome": {"validity": "Loss follows what raters prefer"},
    "licences": {"licence": "MIT"},
    "pretraining and benchmarks": {"training_cutoff": "2024-06"},
}


@pytest.mark.parametrize("item", STATED)
def test_what_no_record_knows_is_asked_for_by_its_key_and_then_quoted(tmp_path: Path, item: str) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    asked = {row.item: row for row in analyse(run, recipe).rigor}[item]
    ((key, text),) = STATED[item].items()
    assert asked.status == "asked for"
    assert f"`about.{key}`" in asked.evidence
    said = recipe.model_copy(update={"about": AboutSettings.model_validate(STATED[item])})
    row = {row.item: row for row in analyse(run, said).rigor}[item]
    assert row.status == "met"
    assert text in row.evidence
    assert "State" not in row.evidence


def test_a_statement_on_sample_size_is_held_against_the_error_seen(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    about = AboutSettings(sample_size="Five seeds detect 0.02 nats")
    said = recipe.model_copy(update={"about": about})
    row = {row.item: row for row in analyse(run, said).rigor}["sample size chosen before"]
    assert row.status == "not met"
    assert "0 of 1 declared comparisons detect their margin" in row.evidence
    wide = said.model_copy(update={"analyze": said.analyze.model_copy(update={"margins": {"loss": 9.0}})})
    row = {row.item: row for row in analyse(run, wide).rigor}["sample size chosen before"]
    assert row.status == "met"


@pytest.mark.parametrize(
    ("about", "status", "words"),
    [
        ({"training_cutoff": "2017-12"}, "met", "Published before: none"),
        ({"training_cutoff": "2018-03"}, "met", "Published before: arc_easy (2018-03)"),
        ({"training_cutoff": "unknown"}, "not met", "does not state"),
        ({"training_cutoff": "2024", "published": {"arc_easy": "2025"}}, "met", "Published before: none"),
        ({"training_cutoff": "2024", "published": {"arc_easy": "unknown"}}, "asked for", "`about.published.arc_easy`"),
    ],
)
def test_benchmarks_older_than_the_model_are_named(
    tmp_path: Path, about: dict[str, object], status: str, words: str
) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY).model_copy(update={"about": AboutSettings.model_validate(about)})
    row = {row.item: row for row in analyse(run, recipe).rigor}["pretraining and benchmarks"]
    assert row.status == status
    assert words in row.evidence


@pytest.mark.parametrize(
    ("machine", "status", "words"),
    [
        ({}, "met", "device cpu, float32."),
        ({"cpu": None}, "not met", "not recorded: cpu."),
        ({"device": "cuda"}, "not met", "not recorded: accelerator, driver, cuda."),
        (
            {"device": "cuda", "accelerator": "NVIDIA H100", "driver": "570.86", "cuda": "12.8"},
            "met",
            "device NVIDIA H100, float32, driver 570.86, CUDA 12.8.",
        ),
        (None, "not met", "not recorded: versions of all packages."),
    ],
)
def test_the_environment_is_the_whole_of_it(
    tmp_path: Path, machine: dict[str, str] | None, status: str, words: str
) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    manifest = json.loads((run / "manifest.json").read_text())
    if machine is None:
        del manifest["packages"]
    else:
        manifest["machine"] |= machine
    (run / "manifest.json").write_text(json.dumps(manifest))
    row = {row.item: row for row in analyse(run, recipe).rigor}["environment and versions"]
    assert (row.status, row.evidence.endswith(words)) == (status, True), row.evidence


def test_a_digest_is_no_prompt(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    for path in (run / "evaluations").glob("**/results.json"):
        results = json.loads(path.read_text())
        for record in results["tasks"].values():
            record["prompt"]["texts"] = []
        path.write_text(json.dumps(results))
    row = {row.item: row for row in analyse(run, recipe).rigor}["prompts"]
    assert row.status == "not met"
    assert "kept for 0 of 1 benchmarks; a digest of every prompt, shots and split for 1" in row.evidence


def test_hours_are_summed_by_device_and_energy_is_told_where_it_was_counted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["machine"] |= {"device": "cuda", "accelerator": "NVIDIA H100"}
    for number, stage in enumerate(manifest["stages"]):
        stage["seconds"] = 36.0
        stage["cached"] = number == 0
        stage["computes"] = stage["kind"] not in ("model", "data")
        stage["gpu_energy"] = 3600.0
    count, on_cpu = len(manifest["stages"]), 2
    (run / "manifest.json").write_text(json.dumps(manifest))
    findings = analyse(run, recipe)
    hours = {row.device: (round(row.hours, 6), round(row.hours_now, 6)) for row in findings.compute}
    assert hours == {"cpu": (0.02, 0.01), "NVIDIA H100": (round((count - on_cpu) / 100, 6),) * 2}
    row = {row.item: row for row in findings.rigor}["cost"]
    assert f"Energy: {count / 1000:.3g} kWh, counted in {count} of {count} stages." in row.evidence
    for stage in manifest["stages"]:
        del stage["gpu_energy"]
    del manifest["stages"][-1]["seconds"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    row = {row.item: row for row in analyse(run, recipe).rigor}["cost"]
    assert row.status == "not met"
    assert row.evidence.endswith("Energy: not measured.")


def test_no_row_is_met_whatever_the_run_holds(tmp_path: Path) -> None:
    """A row that is true by constant tells nothing: of a run that broke off at once, none is met."""
    run = tmp_path / "run"
    recipe = write_run(run, MANY)
    for path in list(run.iterdir()):
        if path.name != "manifest.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in manifest["stages"]:
        stage["status"] = "failed"
    for source in manifest["sources"]:
        source |= {"digest": None, "licence": None}
    (run / "manifest.json").write_text(json.dumps({**manifest, "machine": {}, "packages": {}}))
    scorer = ScorerChoice.model_validate({"kind": "ablation", "tasks": ["arc_easy"], "leak": True})
    rows = analyse(run, recipe.model_copy(update={"scorers": {"x": scorer}, "arms": ()})).rigor
    assert [row.item for row in rows if row.status == "met"] == []


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
