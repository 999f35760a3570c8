"""Answers to questions that were interrupted continue where they were, in the second turn too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.generating import generation
from layersig.judging.answering import answer
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.measurements import Answer
from layersig.streams import Streams
from tests.tiny import save_tiny

QUESTIONS = [
    {"question_id": number, "category": "c", "turns": [f"Say {number}.", "Again."][: 1 + number % 2]}
    for number in range(6)
]


class Killed(BaseException):
    """What a signal does to a process, in this one."""


def job(world: Path, place: Path) -> Job:
    for name in ("out", "work"):
        (place / name).mkdir(parents=True, exist_ok=True)
    params = {
        "conversations": [{"name": "talk", "limit": None}],
        "answers": {"max_new_tokens": 5, "temperature": 0.7, "top_p": 1.0},
        "chat_template": "plain",
        "batch_tokens": 60,
        "dtype": "float32",
        "device": "cpu",
        "quantization": "none",
        "attention": "sdpa",
    }
    inputs = {"model": world / "model", "questions/0": world / "talk.jsonl"}
    return Job(Cell(), Answer.of(**params), inputs, place / "out", place / "work", Streams(0, 0))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    save_tiny(folder / "model")
    (folder / "talk.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    return folder


def steps(monkeypatch: pytest.MonkeyPatch, deadly: int | None) -> list[int]:
    step, taken = generation._Batch.step, []

    def deadlier(*arguments):
        taken.append(1)
        if len(taken) == deadly:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(generation._Batch, "step", deadlier)
    return taken


@pytest.mark.parametrize("share", [0.05, 0.4, 0.7, 0.99])
def test_killed_in_any_turn_it_ends_with_the_same_bytes(world, tmp_path, share):
    with pytest.MonkeyPatch.context() as patch:
        every = steps(patch, None)
        answer(job(world, tmp_path / "whole"))
    deadly = max(1, round(share * len(every)))
    with pytest.MonkeyPatch.context() as patch:
        steps(patch, deadly)
        with pytest.raises(Killed):
            answer(job(world, tmp_path / "cut"))
    with pytest.MonkeyPatch.context() as patch:
        rest = steps(patch, None)
        answer(job(world, tmp_path / "cut"))
    written = [tmp_path / name / "out" / "answers.jsonl" for name in ("whole", "cut")]
    assert written[0].read_bytes() == written[1].read_bytes()
    # A batch of at most 4 steps is lost.
    assert deadly + len(rest) <= len(every) + 5
