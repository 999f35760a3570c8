from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layersig.errors import UserError
from layersig.findings.rows.arms import COMPARISONS, ComparisonRow
from layersig.findings.rows.layers import CONCENTRATION, RANKED_LAYERS, RANKINGS
from layersig.findings.tables import Findings
from layersig.jsonform import dumps, jsonl, read_jsonl
from layersig.recipe.schema import Recipe
from layersig.topics.analyse import analyse, load
from layersig.topics.cost.rows import COST_SUMS
from layersig.topics.training.rows import LOSSES
from tests.report.studies import Study
from tests.report.synthetic import read, write_run

SMALL = Study(blocks=6, data=("alpaca",), seeds=(0, 1), tasks=(("arc_easy", 30),), heldout=12, steps=120)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe, Findings]:
    run = tmp_path_factory.mktemp("findings") / "run"
    recipe = write_run(run, SMALL)
    return run, recipe, analyse(run, recipe)


def copy_of(study: tuple[Path, Recipe, Findings], target: Path) -> Path:
    shutil.copytree(study[0], target)
    return target


def test_findings_are_read_back_as_they_were_written(study: tuple[Path, Recipe, Findings]) -> None:
    assert load(study[0]) == study[2]


def test_a_verdict_follows_the_better_side_that_the_task_declares(
    study: tuple[Path, Recipe, Findings], tmp_path: Path
) -> None:
    run, task = copy_of(study, tmp_path / "run"), "heldout/alpaca"

    def untouched(metric: str, declared: dict[str, bool]) -> ComparisonRow:
        for path in (run / "evaluations").glob("**/items.jsonl"):
            rows = [{**row, "metric": metric} if row["task"] == task else row for row in read_jsonl(path)]
            path.write_text(jsonl(rows))
            path.with_name("results.json").write_text(dumps({"tasks": {task: {"higher_is_better": declared}}}))
        recipe = study[1].model_copy(
            update={"analyze": study[1].analyze.model_copy(update={"margins": {metric: 0.02}})}
        )
        (row,) = [
            row
            for row in analyse(run, recipe)[COMPARISONS]
            if (row.arm, row.task, row.role) == ("base", task, "baseline")
        ]
        return row

    faults, merits = untouched("faults", {"faults": False}), untouched("merits", {})
    assert faults.estimate == merits.estimate > 0
    assert (faults.higher_is_better, merits.higher_is_better) == (False, True)
    assert (faults.verdict, merits.verdict) == ("worse by more than the margin", "better by more than the margin")


def test_equal_files_give_equal_bytes(study: tuple[Path, Recipe, Findings], tmp_path: Path) -> None:
    again = tmp_path / "again"
    analyse(again, write_run(again, SMALL))
    assert (again / "analysis.json").read_bytes() == (study[0] / "analysis.json").read_bytes()


def test_sizes_are_what_the_arms_select(study: tuple[Path, Recipe, Findings]) -> None:
    sizes = {len(line["layers"]) for line in read_jsonl(study[0] / "selections.jsonl")} - {42}
    assert set(study[2].sizes) == sizes


def test_ranks_and_ranges_come_from_the_scores(study: tuple[Path, Recipe, Findings]) -> None:
    run, _, findings = study
    lines = [line for line in read_jsonl(run / "scores.jsonl") if line["scorer"] == "ila"]
    scores = np.array([list(line["scores"].values()) for line in lines])
    ranks = (-scores).argsort(1).argsort(1) + 1
    rows = [row for row in findings[RANKED_LAYERS] if row.scorer == "ila"]
    assert [row.score for row in rows] == pytest.approx(scores.mean(0).tolist())
    assert [row.rank for row in rows] == ((-scores.mean(0)).argsort().argsort() + 1).tolist()
    assert [row.rank_low for row in rows] == ranks.min(0).tolist()
    assert [row.rank_high for row in rows] == ranks.max(0).tolist()


def test_concentration_counts_the_top_by_type_and_depth(study: tuple[Path, Recipe, Findings]) -> None:
    k = study[2].sizes[0]
    rows = [row for row in study[2][CONCENTRATION] if (row.scorer, row.k) == ("ila", k)]
    line = next(read_jsonl(study[0] / "scores.jsonl"))
    top = sorted(line["scores"], key=lambda name: -line["scores"][name])[:k]
    downs = sum(name.endswith("mlp.down_proj") for name in top)
    (down,) = [row for row in rows if row.group == "mlp.down_proj"]
    assert down.selected_low <= downs <= down.selected_high
    assert sum(row.selected for row in rows if row.by == "kind") == pytest.approx(k)
    assert [row.group for row in rows if row.by == "depth"] == ["blocks 0-1", "blocks 2-3", "blocks 4-5"]
    assert sum(row.selected for row in rows if row.by == "depth") == pytest.approx(k)


def test_loss_curves_are_averaged_over_stretches(study: tuple[Path, Recipe, Findings]) -> None:
    raw = [line["loss"] for line in read_jsonl(study[0] / "metrics.jsonl") if line["cell"] == "alpaca/seed-0"]
    rows = [row for row in study[2][LOSSES] if row.cell == "alpaca/seed-0"]
    assert {(row.training, row.name, row.data, row.seed) for row in rows} == {("arm", "all-layers", "alpaca", 0)}
    assert len(rows) == 50
    assert sum(row.loss * row.steps for row in rows) == pytest.approx(sum(raw))
    assert rows[-1].step == 120


def test_costs_are_summed_by_kind(study: tuple[Path, Recipe, Findings]) -> None:
    stages = read(study[0] / "manifest.json")["stages"]
    for row in study[2][COST_SUMS]:
        own = [stage for stage in stages if stage["kind"] == row.kind]
        assert row.seconds == pytest.approx(sum(stage["seconds"] for stage in own))
        assert row.seconds_now == pytest.approx(sum(stage["seconds"] for stage in own if not stage["cached"]))
        assert row.peak_memory == max(stage["peak_memory"] for stage in own)


@pytest.mark.parametrize(
    "missing",
    [
        "scores.jsonl",
        "selections.jsonl",
        "evaluations",
        "metrics.jsonl",
        "layers.json",
        "evaluations/base",
        "evaluations/all-layers",
    ],
)
def test_a_run_without_some_files_gives_fewer_findings(
    study: tuple[Path, Recipe, Findings], tmp_path: Path, missing: str
) -> None:
    run = copy_of(study, tmp_path / "run")
    shutil.rmtree(run / missing) if (run / missing).is_dir() else (run / missing).unlink()
    found = analyse(run, study[1])
    whole = {name: len(rows) for name, rows in study[2].tables.items()}
    assert all(len(rows) <= whole[name] for name, rows in found.tables.items())
    assert found.tables != study[2].tables


def test_a_failed_stage_is_told(study: tuple[Path, Recipe, Findings], tmp_path: Path) -> None:
    run = copy_of(study, tmp_path / "run")
    text = (run / "manifest.json").read_text().replace('"status": "done"', '"status": "failed"', 1)
    (run / "manifest.json").write_text(text)
    assert any("model" in note for note in analyse(run, study[1]).notes)


@pytest.mark.parametrize("every", [True, False])
def test_scorers_of_blocks_are_never_passed_over_in_silence(
    study: tuple[Path, Recipe, Findings], tmp_path: Path, every: bool
) -> None:
    run = copy_of(study, tmp_path / "run")
    lines = list(read_jsonl(run / "scores.jsonl"))
    names = {line["scorer"] for line in lines}
    of_blocks = names if every else {"ila"}
    for line in lines:
        if line["scorer"] in of_blocks:
            line |= {"unit": "block", "scores": {f"model.layers.{block}": line["seed"] or block for block in range(6)}}
    (run / "scores.jsonl").write_text(jsonl(lines))
    found = analyse(run, study[1])
    notes = [note for note in found.notes if "ranks by block" in note]
    assert found.unit == ("block" if every else "module")
    assert {row.scorer for row in found[RANKINGS]} == (names if every else names - {"ila"})
    assert len(notes) == (not every)
    assert every or 'layers.unit = "block"' in notes[0]


def test_what_is_no_run_is_refused(tmp_path: Path, study: tuple[Path, Recipe, Findings]) -> None:
    with pytest.raises(UserError, match="manifest"):
        analyse(tmp_path, study[1])
    with pytest.raises(UserError, match="holds no analysis"):
        load(tmp_path)


def test_findings_and_report_import_no_torch() -> None:
    code = "import sys, layersig.findings, layersig.report; print({'torch', 'altair', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
