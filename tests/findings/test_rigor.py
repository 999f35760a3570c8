from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layersig.findings.files import RunFiles
from layersig.findings.rows.arms import COMPARISONS, RESULTS
from layersig.findings.rows.claims import CLAIMS, EVERY_TASK
from layersig.findings.rows.layers import RANKINGS
from layersig.findings.tables import Findings
from layersig.recipe.schema import AboutSettings, Recipe, ScorerChoice
from layersig.topics.analyse import analyse
from layersig.topics.cost.compute import cost_rows
from layersig.topics.cost.machine import compute_rows
from layersig.topics.cost.rows import COMPUTE, COSTS
from layersig.topics.memorisation.rows import MEMORISATION, MemorisationRow
from layersig.topics.render import render
from layersig.topics.rigor.card import rigor_rows
from layersig.topics.rigor.rows import RIGOR, RigorRow
from layersig.topics.stability.rows import SHARING
from tests.report.synthetic import Study, write_run

ONE = Study(
    blocks=4, data=("alpaca>sample",), seeds=(0,), tasks=(("arc_easy", 20),), heldout=8, steps=6, declared=False
)
MANY = Study(blocks=4, data=("alpaca",), seeds=(0, 1, 2, 3, 4), tasks=(("arc_easy", 20),), heldout=8, steps=6)


def card(run: Path, study: Study) -> dict[str, RigorRow]:
    return {row.item: row for row in analyse(run, write_run(run, study))[RIGOR]}


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
    (row,) = (row for row in analyse(run, recipe)[RIGOR] if row.item == "baselines of equal budget")
    assert f"random layers with the same {words} as a control" in row.evidence


def test_overlap_with_benchmarks_is_told_from_its_files(tmp_path: Path) -> None:
    item, run = "overlap of training data with benchmarks", tmp_path / "run"
    recipe = write_run(run, ONE)
    (row,) = (row for row in analyse(run, recipe)[RIGOR] if row.item == item)
    assert row.status == "met"
    assert "1 of 1 pairs" in row.evidence
    assert "arc_easy in alpaca>sample 2 of 20, heldout in alpaca>sample 0 of 8" in row.evidence
    shutil.rmtree(run / "overlap")
    (row,) = (row for row in analyse(run, recipe)[RIGOR] if row.item == item)
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
    assert {row.item: row.status for row in analyse(run, recipe)[RIGOR]}[item] == "does not apply"


def of_rankings(run: Path, study: Study, change: Callable[[Path], None] = lambda run: None) -> dict[str, RigorRow]:
    """The card of a study that ranks layers and tunes no arm."""
    recipe = write_run(run, study)
    change(run)
    recipe = recipe.model_copy(
        update={"arms": (), "analyze": recipe.analyze.model_copy(update={"resamples": 100, "primary": ()})}
    )
    for name in ("evaluations", "selections.jsonl"):
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    return {row.item: row for row in analyse(run, recipe)[RIGOR]}


DEEP = Study(blocks=12, data=("norobots", "lima"), seeds=(0, 1, 2, 3, 4), tasks=(), heldout=4, steps=2)


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
    def noise(run: Path) -> None:
        rng = np.random.default_rng(3)
        lines = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
        for line in lines:
            if line["scorer"] == "ila":
                line["scores"] = dict(zip(line["scores"], rng.uniform(size=len(line["scores"])).tolist(), strict=True))
        (run / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    row = of_rankings(tmp_path / "run", replace(DEEP, blocks=3), noise)["overlap beside chance and noise"]
    assert row.status == "not met"
    assert "not in: ila on lima (S = 5), ila on norobots (S = 5)" in row.evidence


@dataclass(frozen=True)
class Analysed:
    """A run, its recipe, and what was found in it."""

    run: Path
    recipe: Recipe
    findings: Findings

    def row(self, item: str) -> RigorRow:
        """A row of the card, filled in from the records as they are now."""
        rows = rigor_rows(self.findings, RunFiles(self.run), self.recipe)
        return next(row for row in rows if row.item == item)

    def saying(self, **about: object) -> Analysed:
        """The same with statements in its recipe."""
        said = AboutSettings.model_validate(about)
        return replace(self, recipe=self.recipe.model_copy(update={"about": said}))

    def changed(self, folder: Path, manifest: dict[str, object]) -> Analysed:
        """The same with another manifest."""
        run = Path(shutil.copytree(self.run, folder / "run"))
        (run / "manifest.json").write_text(json.dumps(manifest))
        return replace(self, run=run)

    @property
    def manifest(self) -> dict[str, Any]:
        """Its manifest, to be changed."""
        found: dict[str, Any] = json.loads((self.run / "manifest.json").read_text())
        return found


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    """A study of five seeds, analysed once."""
    run = tmp_path_factory.mktemp("many") / "run"
    recipe = write_run(run, MANY)
    return Analysed(run, recipe, analyse(run, recipe))


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5, 6])
def test_five_runs_are_needed(many: Analysed, seeds: int) -> None:
    found = many.findings
    comparisons = tuple(r.model_copy(update={"seeds": seeds}) for r in found[COMPARISONS])
    fewer = found.with_rows({COMPARISONS: comparisons})
    row = replace(many, findings=fewer).row("n and seeds")
    assert row.status == ("met" if seeds >= 5 else "not met")


def test_items_that_cannot_detect_the_margin_say_how_many_would(many: Analysed) -> None:
    rows = [r for r in many.findings[COMPARISONS] if r.primary and r.arm != "base" and r.margin]
    wanted = [math.ceil(r.n * (r.detectable / r.margin) ** 2) for r in rows if r.detectable and r.detectable > r.margin]
    row = many.row("power")
    assert row.status == "not met"
    assert f"the others would take {min(wanted)} to {max(wanted)} items" in row.evidence
    wide = many.findings.with_rows(
        {COMPARISONS: tuple(r.model_copy(update={"margin": 9.0}) for r in many.findings[COMPARISONS])}
    )
    assert replace(many, findings=wide).row("power").status == "met"


def test_a_declaration_that_came_late_for_one_arm_is_not_met(many: Analysed) -> None:
    assert many.row("declared before the run").evidence.startswith("1 of 1 comparisons that the recipe declares")
    rows = [r.model_copy(update={"declared": False}) if r.arm == "ila-30" else r for r in many.findings[COMPARISONS]]
    late = many.findings.with_rows({COMPARISONS: tuple(rows)})
    row = replace(many, findings=late).row("declared before the run")
    assert (row.status, row.evidence[:6]) == ("not met", "0 of 1")


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


def test_a_statement_on_sample_size_is_held_against_the_error_seen(many: Analysed) -> None:
    said = many.saying(sample_size="Five seeds detect 0.02 nats")
    row = said.row("sample size chosen before")
    assert row.status == "not met"
    assert "0 of 1 declared comparisons detect their margin" in row.evidence
    rows = tuple(r.model_copy(update={"margin": 9.0}) for r in many.findings[COMPARISONS])
    wide = replace(said, findings=many.findings.with_rows({COMPARISONS: rows}))
    assert wide.row("sample size chosen before").status == "met"


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        ({}, "met", "(spread: pilot mine/0): 1 of 1 declared comparisons detect their margin with 80 % power"),
        ({}, "met", "mine against all-layers on heldout/chats detects 0.015, against a margin of 0.02."),
        ({"detectable": 0.02}, "met", "1 of 1 declared"),
        ({"detectable": 0.021}, "not met", "0 of 1 declared"),
        ({"detectable": None}, "not met", "detects an unknown difference"),
        ({"assumed": True, "origin": "assumed"}, "asked for", "or state `about.sample_size`"),
        ({"assumed": True, "origin": "assumed", "detectable": 0.03}, "not met", "0 of 1 declared"),
        ({"kind": "as good"}, "asked for", "State `about.sample_size`"),
    ],
)
def test_a_plan_on_record_is_held_against_its_margin(
    many: Analysed, tmp_path: Path, changed: dict[str, object], status: str, words: str
) -> None:
    member = {
        "kind": "comparison", "arm": "mine", "reference": "all-layers", "data": "chats", "task": "heldout/chats",
        "metric": "loss", "seeds": 5, "items": 40, "level": 0.05, "detectable": 0.015, "margin": 0.02,
        "origin": "pilot mine/0", "assumed": False,
    }  # fmt: skip
    rows = tuple(r.model_copy(update={"margin": 9.0}) for r in many.findings[COMPARISONS])
    able = replace(many, findings=many.findings.with_rows({COMPARISONS: rows}))
    planned = able.changed(tmp_path, {**many.manifest, "plan": [{**member, **changed}]})
    row = planned.row("sample size chosen before")
    assert row.status == status
    assert words in row.evidence
    if status == "met":  # the error that the run shows has to bear the plan out
        assert replace(planned, findings=many.findings).row("sample size chosen before").status == "not met"
    if status == "asked for":  # defaults do not take anything from what the recipe states
        assert planned.saying(sample_size="As in our pilot").row("sample size chosen before").status == "met"


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


def test_every_verdict_names_what_it_is_about(many: Analysed) -> None:
    row = many.row("scope named in every verdict")
    verdicts = sum(each.verdict is not None for each in many.findings[COMPARISONS])
    verdicts += len(many.findings[CLAIMS]) + len(many.findings[EVERY_TASK]) + len(many.findings[SHARING])
    assert (row.status, row.evidence[: len(f"{verdicts} of {verdicts} ")]) == ("met", f"{verdicts} of {verdicts} ")


@pytest.mark.parametrize("table", ["comparisons", "claims"])
@pytest.mark.parametrize("name", ["smollm2-135m", "alpaca", "S = 5", "n = 8"])
def test_a_verdict_that_leaves_its_scope_open_fails_the_card(many: Analysed, table: str, name: str) -> None:
    rows = list(many.findings.tables[table])
    place = next(place for place, row in enumerate(rows) if row.n == 8 and "heldout/alpaca" in row.sentence)
    # The task still holds the name of its data set, which names no data set that an arm was tuned on.
    open_ended = re.sub(rf"(?<!heldout/)\b{name}\b", "something", rows[place].sentence)
    rows[place] = rows[place].model_copy(update={"sentence": open_ended})
    row = replace(
        many, findings=many.findings.model_copy(update={"tables": {**many.findings.tables, table: tuple(rows)}})
    ).row("scope named in every verdict")
    assert row.status == "not met"
    assert open_ended in row.evidence


def test_a_verdict_on_arms_that_were_tuned_on_nothing_names_no_data_set(many: Analysed) -> None:
    rows = [
        row.model_copy(
            update={
                "data": None,
                "sentence": (row.sentence or "").replace("the data set alpaca", "the data set no data"),
            }
        )
        for row in many.findings[COMPARISONS]
    ]
    found = many.findings.with_rows({COMPARISONS: tuple(rows)})
    assert replace(many, findings=found).row("scope named in every verdict").status == "met"


@pytest.mark.parametrize(("models", "sets", "status"), [(1, 8, "not met"), (2, 7, "not met"), (2, 8, "met")])
def test_to_speak_of_more_takes_data_sets_and_models(
    many: Analysed, tmp_path: Path, models: int, sets: int, status: str
) -> None:
    manifest = many.manifest
    (model,) = (source for source in manifest["sources"] if source["node"] == "source/model")
    manifest["sources"] += [model] * (models - 1)
    first = many.findings[RANKINGS][0]
    rankings = tuple(first.model_copy(update={"data": f"set-{number}"}) for number in range(sets))
    found = many.findings.with_rows({RESULTS: (), RANKINGS: rankings})
    row = replace(many.changed(tmp_path, manifest), findings=found).row("generality: data sets and models")
    assert row.status == status


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
    rows = analyse(run, recipe.model_copy(update={"scorers": {"x": scorer}, "arms": ()}))[RIGOR]
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
    (row,) = (row for row in findings[RIGOR] if row.item == "power")
    still = sum(r.task == "arc_easy" and r.primary and r.arm != "base" for r in findings[COMPARISONS])
    assert still > 0
    assert row.status == "not met"
    assert f"of {still} nothing varied, so that their power is not known" in row.evidence


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (MANY, "Holm's method over 2 declared tests, and in 4 exploratory families of"),
        (ONE, "Holm's method over 0 declared tests, and in 4 exploratory families of"),
    ],
)
def test_the_declared_family_is_named_apart(tmp_path: Path, study: Study, words: str) -> None:
    assert words in card(tmp_path / "run", study)["correction for many tests"].evidence


@pytest.mark.parametrize("others", [0, 1, 4])
def test_other_declarations_on_record_are_counted(tmp_path: Path, others: int) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, replace(MANY, seeds=(0,)))
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in manifest["stages"]:
        if stage["kind"] == "evaluate":
            stage["other_declarations"] = others
    (run / "manifest.json").write_text(json.dumps(manifest))
    findings = analyse(run, recipe)
    (row,) = (row for row in findings[RIGOR] if row.item == "declared before the run")
    assert f"on record by then: {others}." in row.evidence
    assert findings.other_declarations == others
    render(run)
    told = f"{others} other declaration{'' if others == 1 else 's'} for this model"
    assert (told in (run / "report.md").read_text()) == (others > 0)
