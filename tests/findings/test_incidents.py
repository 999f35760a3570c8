"""From the counts of evaluations and the answers in conversations to rows and their section of the report."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from layersig.findings.files import RunFiles
from layersig.jsonform import jsonl
from layersig.judging.records import AnswerRecord
from layersig.store.runfolder import RunFolder
from layersig.topics.incidents.compute import incident_rows
from layersig.topics.incidents.rows import INCIDENTS, IncidentRow
from layersig.topics.incidents.section import section
from tests.manifests import manifest


@pytest.fixture
def rows(tmp_path: Path) -> list[IncidentRow]:
    RunFolder(tmp_path).save_manifest(manifest())

    def evaluated(cell: str, **tasks: Any) -> None:
        (tmp_path / "evaluations" / cell).mkdir(parents=True)
        (tmp_path / "evaluations" / cell / "results.json").write_text(json.dumps({"tasks": tasks}))

    evaluated("base", gsm8k={"n": 10, "incidents": {"prompts_cut": 0, "answers_cut": 0, "answers_empty": 0}})
    for seed, cut in ((0, 4), (1, 5)):
        gsm8k = {"n": 10, "incidents": {"prompts_cut": 0, "answers_cut": cut, "answers_empty": 1}}
        arc = {"n": 100, "incidents": {"prompts_cut": 3, "ties": 2}}
        evaluated(f"ila/chats/seed-{seed}", gsm8k=gsm8k, arc=arc, **{"heldout/chats": {"n": 5, "loss": 1.0}})
    talk = tmp_path / "conversations" / "base"
    talk.mkdir(parents=True)
    ends = ("stop", "length", "context", "no-room")
    answered = AnswerRecord("talk", "1", "", ("q",) * 4, (" ", "a", "b", ""), ends, (1, 2, 3, 0), None)
    (talk / "answers.jsonl").write_text(jsonl([answered.to_json()]))
    return list(incident_rows(RunFiles(tmp_path)))


def test_seeds_are_added_up(rows: list[IncidentRow]) -> None:
    found = {(row.arm, row.task): row for row in rows}
    assert list(found) == [("base", "gsm8k"), ("ila", "gsm8k"), ("ila", "arc"), ("base", "talk")]
    ila = found["ila", "gsm8k"]
    assert (ila.items, ila.seeds, ila.prompts_cut, ila.answers_cut, ila.answers_empty, ila.ties) == (
        20,
        2,
        0,
        9,
        2,
        None,
    )
    assert ila.warnings == ("9 of 20 answers were cut before they ended", "2 of 20 answers are empty")
    arc = found["ila", "arc"]
    assert (arc.items, arc.prompts_cut, arc.answers_cut, arc.ties, arc.warnings) == (200, 6, None, 4, ())
    talk = found["base", "talk"]
    assert (talk.items, talk.seeds, talk.prompts_cut, talk.answers_cut, talk.answers_empty) == (4, 0, 1, 2, 1)


def test_they_are_shown(rows: list[IncidentRow]) -> None:
    material: Any = SimpleNamespace(findings={INCIDENTS: tuple(rows)})
    shown = section(material)
    assert shown is not None
    warning, summary, details = map(repr, shown.blocks)
    assert "gsm8k, ila trained on chats: 9 of 20 answers were cut before they ended." in warning
    assert "7 prompts lost their beginning, 11 answers were cut" in summary
    assert "9 (45.0" in details
    material.findings[INCIDENTS] = ()
    assert section(material) is None
