"""Values of rows: what they are called in messages, and how texts, lists and marks are read from them."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from layersig.data.vocabulary import Meaning, is_doubtful_mark, is_strict_mark
from layersig.jsonform import dumps

UNKNOWN = "unknown"
IGNORED = "ignored, as the recipe asks"

_YES = frozenset(
    [
        "true",
        "yes",
        "1",
        "chosen",
        "preferred",
        "good",
        "desirable",
        "positive",
        "accepted",
        "correct",
        "valid",
        "pass",
        "passed",
        "up",
    ]
)
_NO = frozenset(
    [
        "false",
        "no",
        "0",
        "rejected",
        "dispreferred",
        "bad",
        "undesirable",
        "negative",
        "incorrect",
        "wrong",
        "invalid",
        "fail",
        "failed",
        "down",
    ]
)
_DEEPEST = 64


class RowError(ValueError):
    """What is wrong with one row: the field, what was found, what is allowed."""


def kind(value: Any) -> str:
    """What a JSON value is, for messages."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


def is_blank(value: Any) -> bool:
    """Whether a field says nothing: null, or an empty text, list or object."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def check_text(text: Any, where: str) -> str:
    """The text, if it is one that says something.

    Raises:
        RowError: It is no text, is empty, or is not Unicode.
    """
    if not isinstance(text, str):
        raise RowError(f"`{where}` is {'missing' if text is None else kind(text)}; a text is needed")
    if not text.strip():
        raise RowError(f"`{where}` is empty; a text is needed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RowError(f"`{where}` holds half of a surrogate pair, which is no character; take it out") from None
    return text


def check_depth(value: Any, where: str) -> None:
    """Refuse what is nested deeper than any real row, and would exhaust the stack later.

    Raises:
        RowError: It is nested more than 64 levels deep.
    """
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise RowError(f"{where} is nested more than {_DEEPEST} levels deep; flatten it")


def check_plain(value: Any, where: str) -> None:
    """Refuse what JSON cannot hold, or what is nested too deeply.

    Raises:
        RowError: It is nested more than 64 levels deep, or holds a value such as NaN or a date.
    """
    check_depth(value, f"`{where}`")
    try:
        dumps(value).encode()
    except (ValueError, TypeError) as error:
        raise RowError(f"`{where}` holds what JSON cannot ({error}); correct it") from None


def unpacked(value: Any) -> Any:
    """A list or an object that a field holds as JSON text; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def check_mark(value: Any, name: str, where: str, place: str) -> None:
    """Refuse to leave out what a field marks as not to be learnt, if it may be a class or an answer instead.

    Args:
        value: Its value.
        name: Its name.
        where: Its place in the row, for messages.
        place: Its place in any row, for the recipe.

    Raises:
        RowError: Its name leaves that open, and it is not simply true or false.
    """
    if is_doubtful_mark(name) and not isinstance(value, bool):
        raise RowError(
            f"`{where}` is {value!r}, which may mark what is not to be learnt or be something else: write true or "
            f'false if it is a mark, else `fields.ignore = ["{place}"]`'
        )


def yes_or_no(value: Any) -> bool | None:
    """What a mark says; None where it is neither yes nor no."""
    if isinstance(value, str):
        said = value.strip().casefold()
        return True if said in _YES else False if said in _NO else None
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    return None


class Ledger:
    """What becomes of the fields of a row.

    Attributes:
        ignored: Fields that the recipe wants ignored; those of turns as `messages[].name`.
        uses: By field, what it was used for, or why it was not.
    """

    def __init__(self, ignored: Collection[str] = ()) -> None:
        self.ignored = ignored
        self.uses: dict[str, str] = {}

    def note(self, place: str, use: str) -> None:
        """Record what became of a field."""
        self.uses[place] = str(use)

    def unknown(self, place: str) -> None:
        """Record that nobody knows what a field means."""
        self.uses[place] = UNKNOWN

    def ignores(self, place: str) -> bool:
        """Whether the recipe wants a field ignored, which is recorded."""
        if place in self.ignored:
            self.uses[place] = IGNORED
        return place in self.ignored

    def mark(self, value: Any, name: str, meaning: Meaning, where: str, place: str) -> bool | None:
        """Whether a mark lets its row or turn be learnt; None where the field is no mark at all.

        Args:
            value: Its value.
            name: Its name.
            meaning: `KEEP`: a yes means that it is learnt; `DROP`: a no.
            where: Its place in the row, for messages.
            place: Its place in any row, for the recipe.

        Raises:
            RowError: It can be nothing but a mark and says neither yes nor no.
        """
        said = yes_or_no(value)
        if said is None and is_strict_mark(name) and not isinstance(value, dict):
            shown = repr(value) if isinstance(value, int | float) else kind(value)
            raise RowError(
                f"`{where}` is {shown}; it marks what is learnt, so 1 or 0, true or false is needed (if it means "
                f'something else, write `fields.ignore = ["{place}"]`)'
            )
        return None if said is None else said is (meaning is Meaning.KEEP)
