"""Rows with pairs, in the shapes of TRL, LLaMA-Factory and the hub, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layersig.data.examples import read_examples
from layersig.data.pairs import REJECTED, read_interleaved
from layersig.data.rows import read_rows
from layersig.data.stage import prepare
from layersig.errors import UserError
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.kinds import Data
from layersig.streams import Streams
from tests.tiny import save_tiny

ASKED = {"role": "user", "content": "What is blue?"}
SYSTEM = {"role": "system", "content": "Be brief."}
SKY = {"role": "assistant", "content": "The sky."}
SNOW = {"role": "assistant", "content": "Snow."}
HUMAN, GPT, BOT = (
    {"from": "human", "value": "What is blue?"},
    {"from": "gpt", "value": "The sky."},
    {"from": "gpt", "value": "Snow."},
)
SHAPES = {
    "texts": {"prompt": "What is blue?", "chosen": "The sky.", "rejected": "Snow."},
    "prompt of turns": {"prompt": [ASKED], "chosen": [SKY], "rejected": [SNOW]},
    "system in the prompt": {"prompt": [SYSTEM, ASKED], "chosen": [SKY], "rejected": [SNOW]},
    "system of its own": {"system": "Be brief.", "query": "What is blue?", "chosen": "The sky.", "rejected": "Snow."},
    "implicit prompt": {"chosen": [ASKED, SKY], "rejected": [ASKED, SNOW]},
    "implicit prompt with system": {"chosen": [SYSTEM, ASKED, SKY], "rejected": [SYSTEM, ASKED, SNOW]},
    "JSON text": {"chosen": json.dumps([ASKED, SKY]), "rejected": json.dumps([ASKED, SNOW])},
    "ultrafeedback": {
        "prompt": "What is blue?", "prompt_id": "x", "messages": [ASKED, SKY],
        "chosen": [ASKED, SKY], "rejected": [ASKED, SNOW], "score_chosen": 9.0, "score_rejected": 1.0,
    },
    "LLaMA-Factory": {"conversations": [HUMAN], "chosen": GPT, "rejected": BOT},
    "turns before texts": {"messages": [ASKED], "chosen": "The sky.", "rejected": "Snow."},
    "hh-rlhf": {
        "chosen": "\n\nHuman: What is blue?\n\nAssistant: The sky.",
        "rejected": "\n\nHuman: What is blue?\n\nAssistant: Snow.",
    },
    "implicit prompt of texts": {"chosen": "What is blue? The sky.", "rejected": "What is blue? Snow."},
}  # fmt: skip


def write(folder: Path, *rows: dict) -> Path:
    """The rows as a file."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def said(messages):
    return [(message.role, message.content) for message in messages]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_one_prompt_and_two_responses(tmp_path, shape):
    rows = read_rows(write(tmp_path, SHAPES[shape]), pairs=True)
    (found,) = rows.conversations
    opening = [("system", "Be brief.")] if "system" in shape else []
    assert said(found.messages) == [*opening, ("user", "What is blue?"), ("assistant", "The sky.")]
    assert said(found.rejected) == [*opening, ("user", "What is blue?"), ("assistant", "Snow.")]
    assert not any("hold rejected" in note or "not used" in note for note in rows.notes())
    assert next(field.use for field in rows.fields if field.field == "rejected") == "rejected response, learnt against"


def test_answers_within_the_prompt_are_no_targets(tmp_path):
    before = [ASKED, SKY, {"role": "user", "content": "And white?"}]
    row = {"chosen": [*before, SNOW], "rejected": [*before, {"role": "assistant", "content": "Coal."}]}
    (found,) = read_rows(write(tmp_path, row), pairs=True).conversations
    for side in (found.messages, found.rejected):
        assert [message.trained for message in side if message.role == "assistant"] == [False, True]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ('{"name": "Ann"}', '{"name": "Bob"}'),
        ('["Apple"]', "[]"),
        ('[{"from": "Oslo", "to": "Rome"}]', '[{"role": "chair"}]'),
        ("42", "[42]"),
    ],
)
@pytest.mark.parametrize("before", [{"prompt": "Who?"}, {"messages": [{"role": "user", "content": "Who?"}]}])
def test_responses_in_json_are_texts(tmp_path, chosen, rejected, before):
    (found,) = read_rows(write(tmp_path, {**before, "chosen": chosen, "rejected": rejected}), pairs=True).conversations
    assert said(found.messages) == [("user", "Who?"), ("assistant", chosen)]
    assert said(found.rejected) == [("user", "Who?"), ("assistant", rejected)]


def test_named_fields(tmp_path):
    row = {"question": "What is blue?", "response_j": "The sky.", "response_k": "Snow.", "qid": 4}
    fields = {"prompt": "question", "response": "response_j", "rejected": "response_k", "ignore": ["qid"]}
    (found,) = read_rows(write(tmp_path, row), pairs=True, fields=fields).conversations
    assert said(found.rejected)[-1] == ("assistant", "Snow.")


def test_pairs_are_told_apart_by_both_responses_and_equal_ones_are_left_out(tmp_path):
    other = {**SHAPES["texts"], "rejected": "Coal."}
    same = {**SHAPES["texts"], "rejected": "The sky."}
    rows = read_rows(write(tmp_path, SHAPES["texts"], other, same), pairs=True)
    assert len({each.id for each in rows.conversations}) == 2
    assert len({each.group for each in rows.conversations}) == 1
    assert "1 of 3 rows are left out: `chosen = rejected`" in " ".join(rows.notes())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "completion": "b", "label": True}, r"rows of KTO .* write pairs of them.*`chosen` and"),
        ({"messages": [ASKED, SKY]}, r'rows without pairs. .*train.objective = "dpo" needs .*"sft" learns'),
        ({"chosen": [ASKED, SKY], "rejected": [{"role": "user", "content": "Else?"}, SNOW]}, "needs? the same prompt"),
        ({"chosen": "Sky.", "rejected": "Snow."}, "row 1: there is no prompt"),
        ({"prompt": "a", "chosen": "S", "rejected": {"role": "assistant", "content": ""}}, r"`rejected\[0\].*empty"),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_one_clear_message(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read_rows(write(tmp_path, row), pairs=True)


def test_a_row_without_a_pair_among_pairs_is_named(tmp_path):
    path = write(tmp_path, SHAPES["texts"], {"prompt": "a", "chosen": "b"})
    with pytest.raises(UserError, match=r"1 of 2 rows .*\n  row 2: there is no pair; needed: `chosen` and `rejected`"):
        read_rows(path, pairs=True)


def job(folder: Path, path: Path, **params: object) -> Job[Data]:
    """The data stage on these rows."""
    save_tiny(folder / "model")
    for part in ("out", "work"):
        (folder / part).mkdir()
    given = {"limit": None, "heldout": 3, "group_by": None, "max_tokens": 60, "max_rewritten": 0.0}
    spec = Data.of(**{**given, "pairs": True, "chat_template": "plain", **params})
    return Job(
        Cell(data="pairs"), spec, {"model": folder / "model", "rows": path}, folder / "out", folder / "work", Streams(0)
    )


def test_the_stage_writes_both_sides_in_one_order(tmp_path):
    rows = [
        {"prompt": f"Question {number}?", "chosen": f"Yes, {number}.", "rejected": "No " * (1 + number)}
        for number in range(10)
    ]
    run = job(tmp_path, write(tmp_path, *rows))
    prepare(run)
    report = json.loads((run.out / "report.json").read_text())
    for split, count in (("train", 7), ("heldout", 3)):
        chosen, rejected = (read_examples(run.out, f"{split}{ending}") for ending in ("", REJECTED))
        assert len(chosen) == len(rejected) == count
        assert rejected.ids == tuple(f"{each}{REJECTED}" for each in chosen.ids)
        assert rejected.groups == chosen.groups
        for better, worse in zip(chosen, rejected, strict=True):
            start = int(better.targets.argmax())
            assert start == int(worse.targets.argmax())
            np.testing.assert_array_equal(better.tokens[:start], worse.tokens[:start])
            assert not np.array_equal(better.tokens, worse.tokens)
        assert read_interleaved(run.out, split).ids[:2] == (chosen.ids[0], rejected.ids[0])
        assert report["rejected"][split]["tokens"] == rejected.lengths.sum()
    assert "no no" in (run.out / "train.txt").read_text()


@pytest.mark.parametrize("text", ["shuffled-words", "random-tokens"])
def test_nonsense_keeps_one_prompt(tmp_path, text):
    rows = [{"prompt": f"One two three {n}?", "chosen": "Four five six.", "rejected": "Seven eight."} for n in range(6)]
    run = job(tmp_path, write(tmp_path, *rows), text=text, max_rewritten=1.0)
    prepare(run)
    for better, worse in zip(*(read_examples(run.out, f"train{each}") for each in ("", REJECTED)), strict=True):
        start = int(better.targets.argmax())
        np.testing.assert_array_equal(better.tokens[:start], worse.tokens[:start])
