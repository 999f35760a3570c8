from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from layersig.findings.rows.arms import COMPARISONS, RESULTS
from layersig.findings.rows.claims import CLAIMS, EVERY_TASK
from layersig.findings.rows.layers import RANKINGS
from layersig.recipe.schema import ScorerChoice
from layersig.topics.analyse import analyse
from layersig.topics.render import render
from layersig.topics.rigor.rows import RIGOR
from layersig.topics.stability.rows import SHARING
from tests.findings.rigor import MANY, ONE, Analysed, card
from tests.report.studies import Study
from tests.report.synthetic import write_run


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
    assert "; those of several runs take more seeds, items, or both" in row.evidence  # items alone need not do
    single = [r.model_copy(update={"scope": "checkpoints"}) for r in many.findings[COMPARISONS]]
    row = replace(many, findings=many.findings.with_rows({COMPARISONS: tuple(single)})).row("power")
    assert f"at this error per item {min(wanted)} to {max(wanted)} items would do for those of one run" in row.evidence
    wide = many.findings.with_rows(
        {COMPARISONS: tuple(r.model_copy(update={"margin": 9.0}) for r in many.findings[COMPARISONS])}
    )
    assert replace(many, findings=wide).row("power").status == "met"


@pytest.mark.parametrize(
    ("verdict", "stated", "excluded"),
    [
        ("equivalent", (0.0004, 0.0076), 0),  # an interval of a lower level may leave out 0
        ("better, size unsettled", (0.0, 0.04), 1),  # and a corrected one may end there
    ],
)
def test_an_explanation_is_excluded_where_the_verdict_says_so(
    many: Analysed, verdict: str, stated: tuple[float, float], excluded: int
) -> None:
    said = {"verdict": verdict, "stated_low": stated[0], "stated_high": stated[1], "higher_is_better": True}
    rows = tuple(r.model_copy(update=said) if r.role == "random control" else r for r in many.findings[COMPARISONS])
    row = replace(many, findings=many.findings.with_rows({COMPARISONS: rows})).row("alternative explanations")
    assert f"random layers in {excluded} of 1;" in row.evidence
    few = tuple(r.model_copy(update={"seeds": 2}) for r in rows)
    row = replace(many, findings=many.findings.with_rows({COMPARISONS: few})).row("alternative explanations")
    assert "random layers in 0 of 1;" in row.evidence  # two runs do not say how random sets differ


def test_a_declaration_that_came_late_for_one_arm_is_not_met(many: Analysed) -> None:
    assert many.row("declared before the run").evidence.startswith("1 of 1 comparisons that the recipe declares")
    rows = [r.model_copy(update={"declared": False}) if r.arm == "ila-30" else r for r in many.findings[COMPARISONS]]
    late = many.findings.with_rows({COMPARISONS: tuple(rows)})
    row = replace(many, findings=late).row("declared before the run")
    assert (row.status, row.evidence[:6]) == ("not met", "0 of 1")
    undeclared = tuple(r.model_copy(update={"outcome": False}) for r in rows)
    row = replace(many, findings=many.findings.with_rows({COMPARISONS: undeclared})).row("declared before the run")
    assert (row.status, row.evidence[:6]) == ("not met", "0 of 0")
    silent = replace(many, findings=many.findings.model_copy(update={"primary_arms": ()}))
    row = silent.row("declared before the run")
    assert (row.status, row.evidence[:36]) == ("not met", "The recipe declares no comparison: a")


def test_a_declared_comparison_that_was_never_made_is_named(many: Analysed) -> None:
    pairs = (("ila-30", "nothing"), ("base", "all-layers"))
    analyze = many.recipe.analyze.model_copy(update={"contrasts": pairs})
    declaring = replace(many, recipe=many.recipe.model_copy(update={"analyze": analyze}))
    row = declaring.row("declared before the run")
    assert row.status == "not met"
    assert "Declared, but compared on no outcome: ila-30 against nothing." in row.evidence


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
    told = f"On record for this model: {others} other declaration{'' if others == 1 else 's'};"
    assert (told in (run / "report.md").read_text()) == (others > 0)
