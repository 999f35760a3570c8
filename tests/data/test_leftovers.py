"""Fields that a conversation does not use are named, or are known to change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from layersig.errors import UserError
from tests.data.turns import ASKED, ASSISTANT, PAIR, TURNS, USER, read, said


def test_unknown_fields_are_named_once_with_their_share(tmp_path: Path) -> None:
    rows = read(
        tmp_path, PAIR, {"prompt": "Why?", "response": "So.", "mood": "sad", "persona": "x"}, {**TURNS, "mood": 1}
    )
    notes = rows.notes()
    assert len(notes) == 1
    assert notes[0].startswith("Fields `mood` (67 % of rows), `persona` (33 % of rows) have no known meaning")
    assert read(tmp_path, {**PAIR, "mood": "sad"}, fields={"ignore": ["mood"]}).notes() == []


def test_fields_of_turns_are_named_by_their_place(tmp_path: Path) -> None:
    turn = {**ASSISTANT, "mood": "sad"}
    assert "`messages[].mood` (100 % of rows)" in read(tmp_path, {"messages": [USER, turn]}).notes()[0]
    assert read(tmp_path, {"messages": [USER, turn]}, fields={"ignore": ["messages[].mood"]}).notes() == []


@pytest.mark.parametrize(
    "extra",
    [
        {
            "id": 7,
            "source": "x",
            "category": "QA",
            "prompt_id": "p",
            "num_turns": 1,
            "created_at": "today",
            "metadata": {"a": 1},
        },
        {"mood": None, "notes": "", "extras": [], "more": {}},
        {"text": "Below is a task. Where? Answer: There."},
        {"conversations": [USER, ASSISTANT]},
    ],
)
def test_records_empty_fields_and_copies_need_no_note(tmp_path: Path, extra: dict[str, Any]) -> None:
    assert read(tmp_path, {**TURNS, **extra}).notes() == []


def test_grades_and_rejected_responses_are_named(tmp_path: Path) -> None:
    notes = read(tmp_path, {"prompt": "Where?", "chosen": "There.", "rejected": "No.", "score_chosen": 3}).notes()
    assert [note.partition(" (")[0] for note in notes] == ["Fields `score_chosen`", "Fields `rejected`"]
    assert "which are not trained on" in notes[1]


def test_rows_that_are_only_asked_need_no_note_on_their_responses(tmp_path: Path) -> None:
    rows = read(tmp_path, {**PAIR, "label": False, "rejected": "No.", "score": 1}, prompts=True)
    assert said(rows) == ASKED[:1]
    assert rows.notes() == []


@pytest.mark.parametrize("name", ["passage", "source"])
def test_a_context_that_the_recipe_names_is_never_dropped(tmp_path: Path, name: str) -> None:
    fields = {"context": name}
    with pytest.raises(UserError, match=f"`{name}`, which `fields` names, has no place beside a list of turns"):
        read(tmp_path, {**TURNS, name: "Here."}, {**TURNS, name: ""}, fields=fields)
    with pytest.raises(UserError, match=f"`{name}`, which `fields` names"):
        read(tmp_path, {"prompt": [USER], "response": [USER, ASSISTANT], name: "Here."}, fields=fields)
    assert said(read(tmp_path, {**TURNS, name: "Where?"}, fields=fields)) == ASKED  # a copy of a turn
    assert said(read(tmp_path, {**PAIR, name: "Here."}, fields=fields)) == [("user", "Where?\n\nHere."), ASKED[1]]


def test_responses_that_the_recipe_names_are_never_dropped(tmp_path: Path) -> None:
    fields = {"prompt": "prompt", "response": ["response", "more"]}
    row = {"prompt": "Where?", "response": [ASSISTANT], "more": "So."}
    with pytest.raises(UserError, match="`more`, which `fields` names, has no place beside a list of turns"):
        read(tmp_path, row, fields=fields)
    assert said(read(tmp_path, row, fields=fields, prompts=True)) == ASKED[:1]
