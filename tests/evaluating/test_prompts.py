"""The text of a prompt is kept as the model reads it, not its digest alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.evaluating.items import score_task
from layersig.evaluating.loading import load_task
from layersig.evaluating.local import LONGEST_EXAMPLE
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.evaluating.test_shots import CHOICE, WRITTEN, boxes, task
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = CHOICE.replace(
    'doc_to_text: "Box {{box}} is"\ndoc_to_target: answer\ndoc_to_choice: choices',
    'doc_to_text: answer\ndoc_to_target: "seen"\ndoc_to_choice: choices',
)


def kept(path: Path, shots: int, *, chat: bool = False) -> tuple[dict[str, object], list[tuple[object, ...]]]:
    """What the summary keeps, and the requests of the first item as lm-eval got them."""
    loaded = load_task(TaskSettings(source=f"file:{path}", shots=shots, chat=chat), path, Streams(0))
    scored = score_task(loaded, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    [part] = loaded.parts
    first = [tuple(request.args) for request in part.instances if request.doc_id == 0]
    return dict(scored.summary["boxes"]["prompt"]), first


@pytest.mark.parametrize("text", [CHOICE, WRITTEN], ids=["choice", "written"])
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("shots", [0, 3])
def test_the_first_prompt_is_kept_with_its_examples(tmp_path: Path, text: str, chat: bool, shots: int) -> None:
    path = task(tmp_path, text, {"test": boxes(4), "train": boxes(6, 50)}, extra="training_split: train\n")
    prompt, first = kept(path, shots, chat=chat)
    assert prompt["texts"] == [first[0][0]]
    [shown] = prompt["texts"]
    assert shown.count("Box B") == shots + 1
    assert shown.count("Box B00 is") == 1
    assert "<" in shown if chat else shown.endswith("Box B00 is")
    assert prompt["answers"] == ([request[1] for request in first] if text is CHOICE else [])
    assert str(prompt["item"]).startswith("0:")
    assert "cut" not in prompt


def test_where_the_choices_are_what_is_read_each_is_kept(tmp_path: Path) -> None:
    prompt, first = kept(task(tmp_path, PAIRS, {"test": boxes(4)}), 0)
    assert prompt["texts"] == [request[0] for request in first] == ["red", "blue"]
    assert prompt["answers"] == [" seen"]


def test_a_book_is_cut_and_says_so(tmp_path: Path) -> None:
    rows = [{**row, "box": "x" * (2 * LONGEST_EXAMPLE)} for row in boxes(2)]
    prompt, _ = kept(task(tmp_path, CHOICE, {"test": rows}), 0)
    assert prompt["cut"] is True
    assert [len(text) for text in prompt["texts"]] == [LONGEST_EXAMPLE]
