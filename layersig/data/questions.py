"""Questions to put to a model in a conversation of one turn or several, as MT-Bench and Vicuna's set have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from layersig.data.raw_rows import raw_rows
from layersig.data.rows import complaint
from layersig.data.values import RowError, kind
from layersig.errors import UserError
from layersig.streams import Streams

ACCEPTED = (
    '`{"question_id": 1, "category": "writing", "turns": ["first question", "second question"]}`, and, where there '
    'are some, `"reference": ["answer", "answer"]`'
)


class Question(NamedTuple):
    """What is asked, turn by turn.

    Attributes:
        id: Unique in its set.
        category: What results are grouped by; `all` where the set names none.
        turns: The user's turns.
        reference: A reference answer to every turn; None where there is none.
    """

    id: str
    category: str
    turns: tuple[str, ...]
    reference: tuple[str, ...] | None


def read_questions(path: Path) -> tuple[Question, ...]:
    """Read a `.jsonl`, `.json` or `.parquet` file of questions, in its order.

    `prompt` and `prompt_id` may stand for `turns` and `question_id`, as some copies of MT-Bench have them.

    Raises:
        UserError: The file is empty, or rows cannot be used; the first few are named.
        MachineError: The file cannot be read.
    """
    rows = raw_rows(path)
    if not rows:
        raise UserError(f"{path}: it holds no rows; one question a row is needed: {ACCEPTED}")
    found: dict[str, Question] = {}
    faults: list[tuple[int, RowError]] = []
    for number, value in rows:
        try:
            if isinstance(value, RowError):
                raise value
            question = _question(value)
            if question.id in found:
                raise RowError(f"the id {question.id} is listed twice; ids are unique")
            found[question.id] = question
        except RowError as fault:
            faults.append((number, fault))
    if faults:
        raise UserError(f"{complaint(path, faults, len(rows))}\n  A row is {ACCEPTED}.")
    return tuple(found.values())


def sample(questions: tuple[Question, ...], name: str, limit: int | None, root: int) -> tuple[Question, ...]:
    """A seeded sample in file order, the same in every arm and seed.

    Args:
        questions: The whole set.
        name: Name of the set.
        limit: Questions to keep; all when None.
        root: The recipe's root seed.
    """
    streams = Streams(root)
    kept = set(sorted((each.id for each in questions), key=lambda id: streams.number("questions", name, id))[:limit])
    return tuple(each for each in questions if each.id in kept)


def _question(row: Any) -> Question:
    if not isinstance(row, dict):
        raise RowError(f"it is {kind(row)}; an object with named fields is needed")
    turns = _texts(row, "turns" if "turns" in row else "prompt", "`turns`")
    if turns is None:
        raise RowError("`turns` is missing or empty; a list of questions is needed")
    reference = _texts(row, "reference", "`reference`")
    if reference is not None and len(reference) != len(turns):
        raise RowError(f"`reference` has {len(reference)} answers for {len(turns)} turns; one a turn is needed")
    category = row.get("category")
    if category is not None and (not isinstance(category, str) or not category.strip()):
        raise RowError(f"`category` is {kind(category)}; a text is needed")
    return Question(_id(row), category or "all", turns, reference)


def _id(row: Mapping[str, Any]) -> str:
    value = row.get("question_id", row.get("prompt_id"))
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        found = "missing" if value is None else kind(value)
        raise RowError(f"`question_id` is {found}; a text or an integer is needed")
    return str(value)


def _texts(row: Mapping[str, Any], field: str, told: str) -> tuple[str, ...] | None:
    value = row.get(field)
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) and each.strip() for each in value):
        raise RowError(f"{told} is {kind(value)}; a list of texts that are not empty is needed")
    return tuple(value)
