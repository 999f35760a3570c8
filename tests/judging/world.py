"""Stages of judging, called without a study around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layersig.jsonform import jsonl
from layersig.judging.records import AnswerRecord, Judgement, read_judgements
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.measurements import Judging
from layersig.streams import Streams
from tests.judging.server import Judge

PARAMS = {
    "model": "judge-7b",
    "temperature": 0.0,
    "max_tokens": 64,
    "length_key": "max_tokens",
    "repeats": 2,
    "attempts": 3,
    "key_env": None,
    "timeout": 5.0,
    "concurrency": 3,
}


class Told:
    """A reporter that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def start(self, task: str, total: int, unit: str) -> None: ...

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None: ...

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def answered(
    question: str, *answers: str, set: str = "talk", category: str = "math", reference: Sequence[str] | None = None
) -> AnswerRecord:
    """A question with a turn for every answer."""
    turns = tuple(f"question {question}, turn {turn}?" for turn in range(1, len(answers) + 1))
    ends, tokens = ("stop",) * len(answers), (3,) * len(answers)
    return AnswerRecord(set, question, category, turns, answers, ends, tokens, tuple(reference) if reference else None)


def write_answers(folder: Path, rows: Sequence[AnswerRecord]) -> Path:
    """The output of an answer stage."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.jsonl").write_text(jsonl([row.to_json() for row in rows]), encoding="utf-8")
    return folder


def job_of(folder: Path, judge: Judge, inputs: Mapping[str, Sequence[AnswerRecord]], **params: Any) -> Job:
    """A stage about to run in `folder`; a second one continues the first."""
    out, work = folder / "out", folder / "state"
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    paths = {role: write_answers(folder / role, rows) for role, rows in inputs.items()}
    known = {**PARAMS, "endpoint": judge.url, **params}
    return Job(Cell(arm="ila"), Judging.of(**known), paths, out, work, Streams(0), reporter=Told())


def judged(job: Job) -> list[Judgement]:
    """What the stage wrote."""
    return list(read_judgements(job.out / "judgements.jsonl"))
