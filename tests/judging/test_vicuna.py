"""Vicuna's questions: 80 rows of one turn in FastChat's format, and what the report says of an undated judge."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from layersig.data.questions import read_questions
from layersig.report.document import Document
from layersig.report.markdown import render_markdown
from layersig.topics.judge.rows import JUDGE_NOISE, JUDGE_PAIRS, JUDGE_POSITIONS, JUDGED, JUDGES
from layersig.topics.judge.section import section
from tests.e2e.world import World
from tests.judging.server import judge_server
from tests.study import write_lines, write_study

RECIPE = Path(__file__).parents[2] / "recipes" / "judge_vicuna.toml"
CATEGORIES = (
    "generic",
    "knowledge",
    "roleplay",
    "common-sense",
    "fermi",
    "counterfactual",
    "coding",
    "math",
    "writing",
)
ROWS = [
    {"question_id": number, "category": CATEGORIES[number % 9], "turns": [f"What is {number} to you?"]}
    for number in range(1, 81)
]
SMALL = [
    "seeds=[0]",
    "model.source=path:model",
    "data.0.source=file:chats.jsonl",
    "train.steps=2",
    "train.batch_size=2",
    "scorers.ila.steps=2",
    "evaluate.conversations=[{source='file:question.jsonl', name='vicuna'}]",
    "evaluate.answers.max_new_tokens=2",
    "judge.repeats=1",
    "analyze.controls=false",
    "analyze.resamples=100",
    "analyze.outcome=vicuna",
]


def test_rows_of_one_turn_are_read_as_they_come(tmp_path: Path) -> None:
    write_lines(tmp_path / "question.jsonl", ROWS)
    found = read_questions(tmp_path / "question.jsonl")
    assert [(each.id, each.turns) for each in found] == [(str(row["question_id"]), tuple(row["turns"])) for row in ROWS]
    assert {each.reference for each in found} == {None}


@pytest.mark.slow
def test_eighty_questions_of_one_turn_are_answered_graded_and_compared(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_lines(tmp_path / "question.jsonl", ROWS)
    with judge_server() as judge:
        run = World(tmp_path, RECIPE).run(f"judge.endpoint={judge.url}", *SMALL).run
    answers = run.lines("conversations/ila-30/norobots/seed-0/answers.jsonl")
    assert [row["question"] for row in answers] == [str(row["question_id"]) for row in ROWS]
    assert {len(row["answers"]) for row in answers} == {1}
    assert len(run.lines("judgements/base/judgements.jsonl")) == 80
    assert len(run.lines("pairs/ila-30/norobots/seed-0/judgements.jsonl")) == 160
    found = json.loads((run.path / "analysis.json").read_text())
    graded = {row["group"]: row["n"] for row in found["judged"] if row["arm"] == "ila-30" and row["by"] == "category"}
    assert graded == {name: sum(row["category"] == name for row in ROWS) for name in CATEGORIES}
    assert not [row for row in found["judged"] if row["by"] == "turn" and row["group"] != "1"]
    compared = {(row["arm"], row["reference"], row["task"]): row for row in found["comparisons"]}
    row = compared["ila-30", "all-layers", "vicuna"]
    assert (row["n"], row["declared"], row["outcome"]) == (80, True, True)


def page(model: str, *answered_by: str) -> str:
    judge: Any = SimpleNamespace(
        what="grades", model=model, answered_by=answered_by, first=None, last=None, repeats=1, temperature=0.0,
        attempts=3, verdicts=80, asked_again=0, cut=0, invalid=0, refused=0,
    )  # fmt: skip
    rows: Any = {JUDGES: (judge,), JUDGED: (), JUDGE_NOISE: (), JUDGE_PAIRS: (), JUDGE_POSITIONS: ()}
    found = section(SimpleNamespace(findings=rows))  # type: ignore[arg-type]  # what is read of a Material
    assert found is not None
    return render_markdown(Document("s", (), "", (), (found,)))


@pytest.mark.parametrize("model", ["judge-7b", "Qwen/Qwen2.5-72B-Instruct", "Llama-3.1-405B", "judge-latest"])
def test_a_judge_without_a_date_is_another_one_tomorrow(model: str) -> None:
    assert f"The id of the judge, {model}, carries no date" in page(model, model)
    assert "carries no date" not in page(model, f"{model}-2026-05-01")


@pytest.mark.parametrize("model", ["judge-2026-05-01", "judge-20260501", "judge-0613", "judge-2411", "preview-05-06"])
def test_a_date_in_the_id_is_one_however_it_is_written(model: str) -> None:
    assert "carries no date" not in page(model)
