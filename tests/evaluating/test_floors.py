"""The best constant answer: the same place, or the same text, in every item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layersig.evaluating.items import score_task
from layersig.evaluating.loading import load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.tiny import tiny_model, tiny_tokenizer

YAML = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{asked}}?"
doc_to_choice: choices
doc_to_target: right
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""

FRESH = [[f"text {n} {c}" for c in "abcd"] for n in range(8)]


@pytest.mark.parametrize(
    ("choices", "right", "floor"),
    [
        (FRESH, [0, 1, 1, 1, 2, 3, 3, 0], 3 / 8),  # places recur, texts never do
        ([["yes", "no"]] * 8, [0, 0, 0, 1, 0, 1, 0, 0], 6 / 8),  # both recur alike
        ([["yes", "no"], ["no", "yes"]] * 4, [0, 1] * 4, 1.0),  # the text recurs, the place does not
        ([["no", "yes"], ["maybe", "no", "yes"]] * 4, [1, 2] * 4, 1.0),  # choices of other number
        (FRESH, [[0, 1], [1], [1, 2], [3], [1], [0], [2, 3], [1]], 5 / 8),  # several right ones
        (FRESH, [own[2] for own in FRESH], 1.0),  # right by its text
    ],
)
def test_the_constant_floor_counts_places_and_texts(
    tmp_path: Path, choices: list[list[str]], right: list[Any], floor: float
) -> None:
    rows = [{"asked": f"q{n}", "choices": c, "right": r} for n, (c, r) in enumerate(zip(choices, right, strict=True))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.yaml").write_text(YAML)
    task = load_task(TaskSettings(source="file:mine.yaml"), tmp_path / "mine.yaml", Streams(0))
    scored = score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    assert scored.summary["mine"]["constant"] == pytest.approx(floor)
