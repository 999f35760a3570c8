"""The questions of the replication, in the order of the overview."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.replication.answers import Question
from tests.replication.questions import alignment, claims, data, estimators, pruning

_PROSE = Path(__file__).parents[1] / "questions.toml"
_ANSWERS = {**alignment.ANSWERS, **estimators.ANSWERS, **data.ANSWERS, **pruning.ANSWERS, **claims.ANSWERS}


def _questions() -> tuple[Question, ...]:
    entries = tomllib.loads(_PROSE.read_text(encoding="utf-8"))["questions"]
    return tuple(
        Question(
            name=entry["name"],
            title=entry["title"],
            parts=tuple(entry["parts"]),
            repeats=tuple(entry.get("repeats", ())),
            answer=_ANSWERS[entry["name"]],
            **{key: " ".join(entry[key].split()) for key in ("claim", "done", "scope", "decide")},
        )
        for entry in entries
    )


QUESTIONS: tuple[Question, ...] = _questions()
