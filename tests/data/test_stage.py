from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layersig.data.examples import read_examples
from layersig.data.stage import prepare
from layersig.errors import UserError
from layersig.records import Cell
from layersig.stages.job import Job, Silent
from layersig.stages.kinds import Data
from layersig.streams import Streams
from tests.tiny import tiny_tokenizer

PARAMS: dict[str, Any] = {
    "limit": None,
    "heldout": 0.25,
    "group_by": None,
    "max_tokens": 64,
    "max_rewritten": 0.01,
    "chat_template": "auto",
}


class Notes(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.total = self.done = 0

    def start(self, task: str, total: int, unit: str) -> None:
        self.total = total

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        self.done += amount

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def run(folder: Path, rows: list[dict[str, Any]], *, seed: int | None = None, own: bool = True, **params: Any) -> Job:
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_tokenizer(chat_template=own).save_pretrained(folder / "model")
    out = folder / "out"
    out.mkdir()
    inputs = {"model": folder / "model", "rows": folder / "rows.jsonl"}
    job = Job(Cell(data="x"), Data.of(**{**PARAMS, **params}), inputs, out, folder, Streams(0, seed), reporter=Notes())
    prepare(job)
    return job


def rows_of(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"Question {place}?", "response": f"Answer {place}."} for place in range(count)]


def test_report_adds_up(tmp_path: Path) -> None:
    rows = [*rows_of(8), rows_of(1)[0], {"prompt": "q" * 80, "response": "a"}, {"prompt": "q", "response": "a" * 80}]
    job = run(tmp_path / "a", rows)
    report = json.loads((job.out / "report.json").read_text())
    train, heldout = read_examples(job.out, "train"), read_examples(job.out, "heldout")
    assert (report["rows"], report["shape"], report["duplicates"]) == (11, "prompt/response", 1)
    sides = [report["train"], report["heldout"]]
    assert sum(side["conversations"] + side["without_target"] for side in sides) == 10
    assert sum(side["without_target"] for side in sides) == 1
    assert sum(side["truncated"] for side in sides) == 2
    for side, examples in zip(sides, (train, heldout), strict=True):
        assert side["conversations"] == len(examples) > 0
        assert side["tokens"] == examples.lengths.sum()
        assert side["target_tokens"] == examples.target_counts.sum()
        assert side["longest"] == examples.lengths.max() <= 64
        assert list(examples.ids) == sorted(examples.ids)
    assert not set(train.ids) & set(heldout.ids)
    assert (report["template"], len(report["template_sha256"])) == ("model", 64)
    assert job.cost["tokens"] == train.lengths.sum() + heldout.lengths.sum()
    notes = job.reporter
    assert isinstance(notes, Notes)
    assert notes.total == notes.done == 10
    assert notes.warnings == [
        "2 of 10 conversations were cut at 64 tokens.",
        "1 of 10 conversations have no answer within 64 tokens and were left out.",
    ]


def test_example_in_the_report_shows_the_targets(tmp_path: Path) -> None:
    job = run(tmp_path / "a", rows_of(4))
    example = json.loads((job.out / "report.json").read_text())["example"]
    first = read_examples(job.out, "train")[0]
    assert "".join(piece["text"] for piece in example) == tiny_tokenizer().decode(np.array(first.tokens))
    (target,) = [piece["text"] for piece in example if piece["target"]]
    assert target.startswith("Answer ")
    assert target.endswith("</s>")


def test_equal_data_are_equal_bytes_whatever_the_seed_or_the_order_of_rows(tmp_path: Path) -> None:
    one = run(tmp_path / "a", rows_of(12), seed=0)
    two = run(tmp_path / "b", rows_of(12)[::-1], seed=1)
    files = sorted(path.name for path in one.out.iterdir())
    assert files == [
        "heldout.json", "heldout.safetensors", "report.json", "train.json", "train.safetensors", "train.txt"
    ]  # fmt: skip
    for name in files:
        assert (one.out / name).read_bytes() == (two.out / name).read_bytes()


def test_words_of_the_training_side_are_kept_for_the_overlap(tmp_path: Path) -> None:
    job = run(tmp_path / "a", rows_of(8), limit=6)
    lines = (job.out / "train.txt").read_text().splitlines()
    assert len(lines) == len(read_examples(job.out, "train"))
    assert all(line.startswith("question ") and " answer " in line for line in lines)


def test_no_heldout_part_when_none_is_asked_for(tmp_path: Path) -> None:
    job = run(tmp_path / "a", rows_of(3), heldout=0)
    assert len(read_examples(job.out, "heldout")) == 0
    assert json.loads((job.out / "report.json").read_text())["heldout"]["longest"] == 0


def test_model_without_a_template_gets_the_plain_one_and_says_so(tmp_path: Path) -> None:
    job = run(tmp_path / "a", rows_of(4), own=False)
    assert json.loads((job.out / "report.json").read_text())["template"] == "plain"
    assert isinstance(job.reporter, Notes)
    assert job.reporter.warnings == ["The model has no chat template; the built-in `plain` one is used."]


def test_template_that_ends_no_turn_is_warned_about(tmp_path: Path) -> None:
    endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    job = run(tmp_path / "a", rows_of(4), chat_template=endless)
    assert isinstance(job.reporter, Notes)
    assert len(job.reporter.warnings) == 1
    assert "no token that ends a turn" in job.reporter.warnings[0]


def test_side_without_any_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the 3 train conversations has an answer within 8 tokens"):
        run(tmp_path / "a", rows_of(4), max_tokens=8)


SHORTENING = (
    "{% for m in messages %}{{ m.role }}: {{ m.content if loop.last or m.role == 'user' else 'So.' }}</s>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
LAST_UNLEARNT = {
    "messages": [
        {"role": role, "content": content, **({"weight": 0} if content == "There." else {})}
        for role, content in zip(("user", "assistant") * 2, ("Why?", "Because.", "Where?", "There."), strict=True)
    ]
}


def test_conversations_in_which_nothing_is_learnt_are_told_apart_from_long_ones(tmp_path: Path) -> None:
    job = run(tmp_path / "a", [*rows_of(4), LAST_UNLEARNT], chat_template=SHORTENING, heldout=0, max_rewritten=1)
    side = json.loads((job.out / "report.json").read_text())["train"]
    assert (side["conversations"], side["without_target"], side["unlearnt"]) == (4, 1, 1)
    told = " ".join(job.reporter.warnings)  # type: ignore[attr-defined]
    assert "1 of 5 conversations have no answer that is learnt, by their marks and the chat template" in told
    assert "have no answer within" not in told
    with pytest.raises(UserError, match=r"none of the 1 train conversations has an answer that is learnt: marks such"):
        run(tmp_path / "b", [LAST_UNLEARNT], chat_template=SHORTENING, heldout=0, max_rewritten=1)


def test_values_that_no_row_has_together_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "language": "en" if row["category"] == "Chat" else "de"} for row in KINDS]
    words = r'`where`: no row has all of these values: category = \["Chat"\], language = \["de"\]; ask for'
    with pytest.raises(UserError, match=words):
        run(tmp_path / "x", rows, where={"category": ["Chat"], "language": ["de"]})


def test_folder_without_a_tokenizer(tmp_path: Path) -> None:
    job = run(tmp_path / "a", rows_of(4))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no tokenizer that can be loaded"):
        prepare(Job(job.cell, job.spec, {**job.inputs, "model": empty}, job.out, job.work, job.streams))


KINDS = [{**row, "category": ("Coding", "Extract", "Chat")[place % 3]} for place, row in enumerate(rows_of(30))]


def test_where_keeps_rows_by_their_fields(tmp_path: Path) -> None:
    job = run(tmp_path / "some", KINDS, where={"category": ["Coding", "Chat"]}, heldout=0)
    report = json.loads((job.out / "report.json").read_text())
    assert (report["rows"], report["elsewhere"], report["train"]["conversations"]) == (20, 10, 20)
    numbers = {int(line.split()[1]) for line in (job.out / "train.txt").read_text().splitlines()}
    assert numbers == {place for place in range(30) if place % 3 != 1}
    assert not any("category" in note for note in job.reporter.warnings)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"category": ["Codin"]}, r'`where.category`: no row has "Codin"; did you mean "Coding"'),
        ({"categori": ["Coding"]}, r'`where.categori`: no row has "Coding"'),
        ({"category": ["Coding", "Poems"]}, r'no row has "Poems". Allowed: Chat, Coding, Extract'),
    ],
)
def test_values_that_no_row_has_are_refused(tmp_path: Path, where: dict[str, list[str]], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run(tmp_path / "x", KINDS, where=where)


def test_the_report_tells_how_diverse_prompts_and_responses_are(tmp_path: Path) -> None:
    job = run(tmp_path / "x", rows_of(10), heldout=0)
    found = json.loads((job.out / "report.json").read_text())["diversity"]
    # `Question 3?`: 10 x (question, a number, ?), 12 different words; its bigrams: 10 + 10 of 20.
    assert found["prompts"]["words"] == 30
    assert found["prompts"]["distinct"] == {"1": 12 / 30, "2": 1.0, "3": 1.0}
    assert found["responses"]["distinct"]["1"] == 12 / 30


def test_a_limit_of_the_training_side_leaves_the_held_out_side(tmp_path: Path) -> None:
    whole, part = run(tmp_path / "a", rows_of(20)), run(tmp_path / "b", rows_of(20), train_limit=5)
    written = list(whole.out.glob("heldout*"))
    assert written
    for path in written:
        assert path.read_bytes() == (part.out / path.name).read_bytes()
    assert len((part.out / "train.txt").read_text().splitlines()) == 5
