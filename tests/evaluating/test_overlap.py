from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layersig.data.examples import read_examples
from layersig.data.stage import prepare
from layersig.evaluating.overlap import overlap
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.kinds import Data
from layersig.stages.measurements import Overlap
from layersig.streams import Streams
from tests.tiny import tiny_tokenizer

YAML = """
task: proverbs
dataset_path: json
dataset_kwargs: {data_files: {test: items.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
"""
SHARED = "The quick brown fox jumps over the lazy dog again and again, every day of the week."
ITEMS = [
    {"question": "What happens? the QUICK brown fox jumps over the lazy dog again and", "answer": "again, every"},
    {"question": "Is it so that the quick brown fox jumps over the lazy cat?", "answer": "no"},
    {"question": "Nothing of this was ever said in any of the conversations there are.", "answer": "yes"},
    {"question": "quick brown", "answer": "fox"},
]


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model's tokenizer, prepared data whose sides share a sentence, and a task."""
    folder = tmp_path_factory.mktemp("overlap")
    tiny_tokenizer().save_pretrained(folder / "model")
    rows = [{"prompt": f"Question {n}?", "response": SHARED} for n in range(8)]
    (folder / "rows.jsonl").write_text(lines(rows))
    (folder / "data").mkdir()
    params = {"limit": None, "heldout": 2, "group_by": None, "max_tokens": 256, "chat_template": "auto"}
    inputs = {"model": folder / "model", "rows": folder / "rows.jsonl"}
    prepare(
        Job(Cell(data="x"), Data.of(**params, max_rewritten=0.01), inputs, folder / "data", folder, Streams(0, None))
    )
    (folder / "items.jsonl").write_text(lines(ITEMS))
    (folder / "proverbs.yaml").write_text(YAML)
    return folder


def found(world: Path, out: Path, *, heldout: bool) -> dict[str, Any]:
    inputs = {"data": world / "data", "task/0": world / "proverbs.yaml"}
    if heldout:
        inputs["model"] = world / "model"
    params = {"tasks": [{"source": "file:proverbs.yaml"}]}
    overlap(Job(Cell(data="x"), Overlap.of(**params), inputs, out, out, Streams(0, None)))
    value: dict[str, Any] = json.loads((out / "overlap.json").read_text())
    return value


def test_items_that_share_words_with_the_training_side_are_counted(world: Path, tmp_path: Path) -> None:
    result = found(world, tmp_path, heldout=False)
    assert list(result) == ["proverbs"]
    task = result["proverbs"]
    assert task["items"] == 4
    eight, thirteen = task["ngrams"]["8"], task["ngrams"]["13"]
    assert (eight["hits"], eight["too_short"], eight["share"]) == (2, 1, pytest.approx(2 / 3))
    assert [item.partition(":")[0] for item in eight["ids"]] == ["0", "1"]
    assert (thirteen["hits"], thirteen["too_short"]) == (1, 1)


def test_held_out_conversations_are_sought_in_the_training_side_too(world: Path, tmp_path: Path) -> None:
    heldout = found(world, tmp_path, heldout=True)["heldout"]
    ids = read_examples(world / "data", "heldout").ids
    assert heldout["items"] == len(ids) == 2
    assert heldout["ngrams"]["13"]["ids"] == list(ids)
    assert heldout["ngrams"]["8"]["covered"] >= 1
