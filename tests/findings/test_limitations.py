"""Limits and threats are written from the records, each with its figure, and only where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layersig.findings.files import RunFiles
from layersig.findings.tables import Findings
from layersig.recipe.schema import AboutSettings, Recipe, ScorerChoice, SearchSettings
from layersig.topics.analyse import analyse
from layersig.topics.incidents.rows import IncidentRow
from layersig.topics.judge.rows import JudgeRow
from layersig.topics.rigor.limitations import limitation_rows
from layersig.topics.rigor.rows import LIMITATIONS
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDY = Study(blocks=3, data=("alpaca>sample",), seeds=(0, 1), tasks=(("arc_easy", 20),), heldout=8, steps=4)
Run = tuple[Path, Recipe, Findings]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("limits") / "run"
    recipe = write_run(path, STUDY)
    return path, recipe, analyse(path, recipe)


def told(run: Run, topic: str, recipe: Recipe | None = None, findings: Findings | None = None) -> list[str]:
    path, own, found = run
    rows = limitation_rows(findings or found, RunFiles(path), recipe or own)
    return [row.sentence for row in rows if row.topic == topic]


def test_every_sentence_is_one_with_a_figure_or_a_name(run: Run) -> None:
    rows = run[2][LIMITATIONS]
    assert {row.kind for row in rows} == {"limitation", "threat"}
    assert len({row.sentence for row in rows}) == len(rows)
    for row in rows:
        assert row.sentence[0].isupper() or row.sentence[0].isdigit()
        assert row.sentence.endswith(".")
        assert not row.sentence.endswith("..")
        assert "None" not in row.sentence


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("model", "smollm2-135m"),
        ("data", "One data set was tuned on, alpaca>sample"),
        ("training runs", "S = 2 training runs per arm: with fewer than 5"),
        ("rankings", "is not known from 2 seeds (top 6 of 21, 16 of 21)"),
        ("items", "On arc_easy, n = 20 items detect"),
        ("tasks that cannot tell", "On arc_easy, tuning all layers on alpaca>sample is not shown to gain"),
        ("exploratory", "comparisons are exploratory"),
        ("precision of the model", "already instruction-tuned"),
        ("fallbacks", "hub:example/alpaca could not be reached; pypi:sample was used instead"),
        ("leaks", "2 of 20 items of arc_easy share a run of 13 words"),
        ("pretraining", "any of 1 benchmarks may be in them"),
        ("cuts", "21 of 1000 training conversations of alpaca>sample were cut to 512 tokens"),
        ("outcome", "a loss on n = 8 held-out conversations"),
        ("search", "learning rate 0.0002"),
    ],
)
def test_what_the_records_show_is_said(run: Run, topic: str, words: str) -> None:
    assert any(words in sentence for sentence in told(run, topic)), told(run, topic)


def with_search(recipe: Recipe) -> Recipe:
    search = SearchSettings(learning_rates=(1e-4, 2e-4))
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"search": search})})


def with_outcome(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"outcome": "arc_easy"})})


def with_cutoff(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"about": AboutSettings(training_cutoff="2017")})


@pytest.mark.parametrize(
    ("topic", "change"),
    [("search", with_search), ("outcome", with_outcome), ("pretraining", with_cutoff)],
    ids=["searched", "another outcome", "benchmarks that are newer"],
)
def test_what_does_not_apply_is_not_said(run: Run, topic: str, change: Callable[[Recipe], Recipe]) -> None:
    assert told(run, topic)
    assert told(run, topic, change(run[1])) == []


def quantised(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"quantization": "nf4"})})


def leaky(recipe: Recipe) -> Recipe:
    scorers = {**recipe.scorers, "ila": ScorerChoice.model_validate({"kind": "ablation", "leak": True})}
    return recipe.model_copy(update={"scorers": scorers})


def dated(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"about": AboutSettings(training_cutoff="2024-06")})


def dated_by_year(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"about": AboutSettings(training_cutoff="2018")})


def with_rates(recipe: Recipe) -> Recipe:
    arms = [arm.model_copy(update={"train": {"learning_rate": 0.5}}) for arm in recipe.arms[:1]]
    return recipe.model_copy(update={"arms": (*arms, *recipe.arms[1:])})


@pytest.mark.parametrize(
    ("topic", "change", "words"),
    [
        ("pretraining", dated_by_year, "1 of 1 benchmarks are older than the model's text, which reaches to 2018,"),
        ("search", with_rates, "The learning rates of the arms differ and were not searched"),
        ("precision of the model", quantised, "held in 4 bits (nf4)"),
        ("leaks", leaky, "Scorer ila was computed on items that arms are evaluated on: results of ila-30, ila-75"),
        ("pretraining", dated, "1 of 1 benchmarks are older than the model's text, which reaches to 2024-06"),
    ],
)
def test_what_the_recipe_shows_is_said(run: Run, topic: str, change: Callable[[Recipe], Recipe], words: str) -> None:
    assert not any(words in sentence for sentence in told(run, topic))
    assert any(words in sentence for sentence in told(run, topic, change(run[1])))


def judge(**own: Any) -> JudgeRow:
    known: dict[str, Any] = {
        "what": "grades",
        "model": "some-judge",
        "answered_by": ("some-judge",),
        "first": None,
        "last": None,
        "endpoint": "http://localhost/v1",
        "temperature": 0.0,
        "repeats": 2,
        "attempts": 3,
        "verdicts": 80,
        "asked_again": 0,
        "invalid": 4,
        "refused": 0,
    }
    return JudgeRow(**{**known, **own})


def incident(**own: Any) -> IncidentRow:
    known: dict[str, Any] = {"arm": "base", "data": None, "task": "gsm8k", "items": 40, "seeds": 0, "prompts_cut": 0}
    counts = {"answers_cut": 9, "answers_empty": 0, "ties": None}
    return IncidentRow(**{**known, **counts, "warnings": ("9 of 40 answers were cut before they ended",), **own})


@pytest.mark.parametrize(
    ("topic", "update", "words"),
    [
        (
            "judge",
            {"tables": {"judges": (judge(),)}},
            "80 grades come from a model, some-judge, not from people; 5.0% of its",
        ),
        (
            "cuts",
            {"tables": {"incidents": (incident(),)}},
            "In gsm8k, base: 9 of 40 answers were cut before they ended.",
        ),
        ("declarations", {"other_declarations": 3}, "3 other declarations for this model"),
        ("smoke run", {"smoke": True}, "2 steps a training"),
    ],
)
def test_what_was_found_is_said(run: Run, topic: str, update: dict[str, Any], words: str) -> None:
    findings = run[2].model_copy(update=update)
    assert not any(words in sentence for sentence in told(run, topic))
    assert any(words in sentence for sentence in told(run, topic, findings=findings))


def test_a_stage_without_a_result_is_a_threat(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run"
    recipe = write_run(path, replace(STUDY, seeds=(0,)))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["stages"][3]["status"] = "failed"
    (path / "manifest.json").write_text(json.dumps(manifest))
    (found,) = told((path, recipe, run[2]), "missing results")
    assert found.startswith(f"1 of {len(manifest['stages'])} stages have no result: {manifest['stages'][3]['id']}")
