"""The task files that recipes ship: what is asked, and which answers count as right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from layersig.evaluating.items import score_task
from layersig.evaluating.loading import load_task
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.evaluating.test_written import Scripted

RECIPES = Path(__file__).parents[2] / "recipes"

MATHEMATICS: list[dict[str, Any]] = [
    {"problem": "What is 1/4 + 1/4?", "solution": r"It is $\boxed{\frac{1}{2}}$.", "answer": r"\frac{1}{2}"},
    {"problem": "What is 30 + 40?", "solution": r"It is $\boxed{70}$.", "answer": "70"},
    {"problem": "What is 8 + 9?", "solution": r"It is $\boxed{17}$.", "answer": "17"},
]
RANGE = {"problem": "Which numbers?", "solution": r"They are $\boxed{[1,2]}$.", "answer": "[1,2]"}
"""A result that looks like a list, of which each part would be right for lm-eval if it were one."""

ROWS: dict[str, list[dict[str, Any]]] = {
    "small/chains/problems.yaml": MATHEMATICS,
    "paper/tasks/math500.yaml": [
        row | {"subject": "Algebra", "level": 2, "unique_id": "x"} for row in (RANGE, *MATHEMATICS)
    ],
    "paper/tasks/aime24.yaml": [
        {"ID": f"2024-{n}", "Problem": f"What is {n} + 0?", "Solution": "Add.", "Answer": n} for n in (25, 70, 204)
    ],
}
"""Rows with the columns of the data set that each file reads."""

ANSWERS: dict[str, list[tuple[str, float]]] = {
    "small/chains/problems.yaml": [
        (r"A half: \boxed{\frac12}.", 1),
        (r"First \boxed{30}, then \boxed{70.0}.", 1),
        (r"So \boxed{18}.", 0),
    ],
    "paper/tasks/math500.yaml": [
        (r"Up from \boxed{1}.", 0),
        (r"In decimals \boxed{0.5}.", 1),
        (r"First \boxed{70}, then \boxed{71}.", 0),
        ("So it is 17.", 1),
    ],
    "paper/tasks/aime24.yaml": [
        (r"First \boxed{70}, then \boxed{025}.", 1),
        (r"Not \boxed{7}.", 0),
        ("It is 204, without a box.", 0),
    ],
}


@pytest.mark.parametrize("path", sorted(str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.yaml")))
def test_right_answers_score_one_and_wrong_ones_zero(path: str, tmp_path: Path) -> None:
    """With the file as it is shipped, except for where its rows are."""
    definition = yaml.safe_load((RECIPES / path).read_text(encoding="utf-8"))
    lines = "".join(json.dumps(row) + "\n" for row in ROWS[path])
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    files = {definition["test_split"]: "rows.jsonl"}
    copy = definition | {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(copy), encoding="utf-8")
    task = load_task(TaskSettings(source="file:task.yaml", chat=True), tmp_path / "task.yaml", Streams(0))
    questions = [row.get("problem", row.get("Problem")) for row in ROWS[path]]
    told = {question: answer for question, (answer, _) in zip(questions, ANSWERS[path], strict=True)}
    scored = score_task(task, Scripted(told))
    assert [outcome.value for outcome in scored.outcomes] == [due for _, due in ANSWERS[path]]
    for question, response in zip(questions, scored.responses, strict=True):
        assert question in response["question"]
        assert "\\boxed{}" in response["question"]
