"""What the rigor card takes from the records of a run and from the statements of its recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from layersig.topics.cost.compute import cost_rows
from layersig.topics.cost.machine import compute_rows
from layersig.topics.cost.rows import COMPUTE, COSTS
from layersig.topics.memorisation.rows import MEMORISATION, MemorisationRow
from tests.findings.rigor import Analysed

STATED: dict[str, dict[str, object]] = {
    "interests": {"interests": "none"},
    "funding": {"funding": "A grant of nobody"},
    "validity of the outcome": {"validity": "Loss follows what raters prefer"},
    "licences": {"licence": "MIT"},
    "pretraining and benchmarks": {"training_cutoff": "2017-01"},
}


@pytest.mark.parametrize("item", STATED)
def test_what_no_record_knows_is_asked_for_by_its_key_and_then_quoted(many: Analysed, item: str) -> None:
    ((key, text),) = STATED[item].items()
    asked, said = many.row(item), many.saying(**STATED[item]).row(item)
    assert asked.status == "asked for"
    assert f"`about.{key}`" in asked.evidence
    assert said.status == "met"
    assert str(text) in said.evidence
    assert "State" not in said.evidence


def test_a_licence_that_no_publisher_states_is_asked_for_by_source(many: Analysed, tmp_path: Path) -> None:
    manifest = many.manifest
    manifest["sources"][1]["licence"] = None
    bare = many.changed(tmp_path, manifest)
    assert "State `about.licences.alpaca`, `about.licence` for what you release" in bare.row("licences").evidence
    assert bare.saying(licence="MIT").row("licences").status == "asked for"
    assert bare.saying(licence="MIT", licences={"alpaca": "own"}).row("licences").status == "met"


@pytest.mark.parametrize(
    ("about", "status", "words"),
    [
        ({"training_cutoff": "2017-12"}, "met", "Published by then: none"),
        ({"training_cutoff": "2018-03"}, "not met", "set `evaluate.memorisation = true`"),
        ({"training_cutoff": "2018"}, "not met", "Published by then: arc_easy (2018-03)"),
        ({"training_cutoff": "unknown"}, "not met", "does not state"),
        ({"training_cutoff": "unknown"}, "not met", "set `evaluate.memorisation = true`"),
        ({"training_cutoff": "2024", "published": {"arc_easy": "2025"}}, "met", "Published by then: none"),
        ({"training_cutoff": "2024-06", "published": {"arc_easy": "2024"}}, "not met", "arc_easy (2024)"),
        ({"training_cutoff": "2024", "published": {"arc_easy": "unknown"}}, "asked for", "`about.published.arc_easy`"),
    ],
)
def test_benchmarks_older_than_the_model_are_named(
    many: Analysed, about: dict[str, object], status: str, words: str
) -> None:
    row = many.saying(**about).row("pretraining and benchmarks")
    assert row.status == status
    assert words in row.evidence


@pytest.mark.parametrize(
    ("task", "about", "status"),
    [
        ("arc_easy", {"training_cutoff": "2024"}, "met"),
        ("arc_easy", {"training_cutoff": "unknown"}, "met"),
        ("arc_easy", {"training_cutoff": "2024", "published": {"arc_easy": "unknown"}}, "met"),
        ("arc_easy", {}, "asked for"),
        ("hellaswag", {"training_cutoff": "2024"}, "not met"),
    ],
)
def test_benchmarks_older_than_the_model_need_a_probe(
    many: Analysed, task: str, about: dict[str, object], status: str
) -> None:
    shown = dict.fromkeys(MemorisationRow.model_fields) | {"task": task, "reordered": 0, "seen": False, "sentence": ""}
    probed = many.findings.with_rows({MEMORISATION: (MemorisationRow.model_construct(**shown),)})
    assert replace(many, findings=probed).saying(**about).row("pretraining and benchmarks").status == status


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
    many: Analysed, tmp_path: Path, machine: dict[str, str] | None, status: str, words: str
) -> None:
    manifest = many.manifest
    if machine is None:
        del manifest["packages"]
    else:
        manifest["machine"] |= machine
    row = many.changed(tmp_path, manifest).row("environment and versions")
    assert (row.status, row.evidence.endswith(words)) == (status, True), row.evidence


@pytest.mark.parametrize(
    ("inputs", "resolved", "status", "words"),
    [
        ([], "hub:example/model", "met", "0 local files"),
        ([("repeat/snr.py", "snr.py")], "hub:example/model", "met", "1 local files"),
        ([(None, "huge.jsonl")], "hub:example/model", "not met", "because of their size: huge.jsonl"),
        ([], "path:/home/me/model", "not met", "not public: smollm2-135m"),
    ],
)
def test_a_run_that_needs_more_than_its_folder_is_not_repeatable(
    many: Analysed,
    tmp_path: Path,
    inputs: list[tuple[str | None, str]],
    resolved: str,
    status: str,
    words: str,
) -> None:
    manifest = many.manifest
    manifest["sources"][0]["resolved"] = resolved
    manifest["inputs"] = [{"key": "x", "file": file, "name": name, "sha256": "0" * 64} for file, name in inputs]
    found = many.changed(tmp_path, manifest)
    assert found.row("repeatable from the run folder").status == "not met"
    (found.run / "repeat").mkdir()
    (found.run / "repeat" / "recipe.toml").write_text("")
    row = found.row("repeatable from the run folder")
    assert row.status == status
    assert words in row.evidence


def test_a_digest_is_no_prompt(many: Analysed, tmp_path: Path) -> None:
    found = many.changed(tmp_path, many.manifest)
    for path in (found.run / "evaluations").glob("**/results.json"):
        results = json.loads(path.read_text())
        for record in results["tasks"].values():
            record["prompt"]["texts"] = []
        path.write_text(json.dumps(results))
    row = found.row("prompts")
    assert row.status == "not met"
    assert "kept for 0 of 1 benchmarks; a digest of every prompt, shots and split for 1" in row.evidence


def test_hours_are_summed_by_device_and_energy_is_told_where_it_was_counted(many: Analysed, tmp_path: Path) -> None:
    manifest = many.manifest
    manifest["machine"] |= {"device": "cuda", "accelerator": "NVIDIA H100"}
    for number, stage in enumerate(manifest["stages"]):
        own = {"seconds": 36.0, "cached": number == 0, "gpu_energy": 3600.0}
        stage |= {**own, "computes": stage["kind"] not in ("model", "data")}
    count, on_cpu = len(manifest["stages"]), 2
    rows = tuple(compute_rows(manifest))  # type: ignore[arg-type]
    hours = {row.device: (round(row.hours, 6), round(row.hours_now, 6)) for row in rows}
    assert hours == {"cpu": (0.02, 0.01), "NVIDIA H100": (round((count - on_cpu) / 100, 6),) * 2}
    found = replace(many, findings=many.findings.with_rows({COMPUTE: rows}))
    assert f"Energy: {count / 1000:.3g} kWh, counted in {count} of {count} stages." in found.row("cost").evidence
    for stage in manifest["stages"]:
        del stage["gpu_energy"]
    del manifest["stages"][-1]["seconds"]
    changed = many.findings.with_rows({COMPUTE: compute_rows(manifest), COSTS: cost_rows(manifest)})  # type: ignore[arg-type]
    row = replace(many, findings=changed).row("cost")
    assert row.status == "not met"
    assert row.evidence.endswith("Energy: not measured.")
