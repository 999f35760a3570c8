"""The shapes of rows that are understood, and how each becomes messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layersig.data.conversation import ROLES, Message

ACCEPTED = (
    "`messages` (a list of {role, content}), `conversations` (a list of texts in turn, of {from, value} or of "
    "{role, content}), `instruction` + `output` (and `input`), `instruction` + `response` (and `context`), "
    "`prompt` + `response`, `prompt` + `completion`, `question` + `answer`"
)

_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}
_OWN_ROLES = {role: role for role in ROLES}


class RowError(ValueError):
    """What is wrong with one row: the field, what was found, what is allowed."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of rows.

    Attributes:
        name: What the report calls it.
        read: The messages of a row of this shape; raises `RowError`. Only LIMA's lists may end with a user turn.
    """

    name: str
    read: Callable[[Mapping[str, Any]], tuple[Message, ...]]


def detect_shape(row: Mapping[str, Any], *, prompts: bool = False) -> Shape | None:
    """The shape of a row by the fields it has; None when it is of none.

    Args:
        row: A row.
        prompts: Rows are only asked: they may end with a user turn, and a field of answers may be missing.
    """
    if "messages" in row:
        return Shape("messages", lambda row: _turns(row, "messages", "role", "content", _OWN_ROLES, prompts))
    first = next(iter(row["conversations"]), None) if isinstance(row.get("conversations"), list) else None
    if isinstance(first, str):
        return Shape("conversations of texts (LIMA)", _texts_in_turn)
    if isinstance(first, dict) and "from" in first:
        return Shape(
            "conversations of from/value (ShareGPT)",
            lambda row: _turns(row, "conversations", "from", "value", _SHAREGPT_ROLES, prompts),
        )
    if isinstance(first, dict) and "role" in first:
        return Shape("conversations", lambda row: _turns(row, "conversations", "role", "content", _OWN_ROLES, prompts))
    for pair in _PAIRS:
        if pair.prompt in row and pair.answer in row:
            return Shape(pair.name, pair.read)
    asked = next((pair for pair in _PAIRS if prompts and pair.prompt in row), None)
    return None if asked is None else Shape(asked.prompt, lambda row: (asked.ask(row),))


def named_fields(prompt: str, responses: Sequence[str]) -> Shape:
    """One exchange in the fields that a recipe names; several fields of the response follow after blank lines."""

    def read(row: Mapping[str, Any]) -> tuple[Message, ...]:
        response = "\n\n".join(_text(row, name) for name in responses)
        return Message("user", _text(row, prompt)), Message("assistant", response)

    return Shape(f"{prompt}/{'+'.join(responses)}", read)


@dataclass(frozen=True, slots=True)
class _Pair:
    """One exchange in named fields; `context`, where it is filled, follows the prompt after a blank line."""

    prompt: str
    answer: str
    context: str | None = None

    @property
    def name(self) -> str:
        middle = f"({self.context})/" if self.context else ""
        return f"{self.prompt}/{middle}{self.answer}"

    def ask(self, row: Mapping[str, Any]) -> Message:
        prompt = _text(row, self.prompt)
        if self.context is not None and row.get(self.context) not in (None, ""):
            prompt = f"{prompt}\n\n{_text(row, self.context)}"
        return Message("user", prompt)

    def read(self, row: Mapping[str, Any]) -> tuple[Message, ...]:
        return self.ask(row), Message("assistant", _text(row, self.answer))


_PAIRS = (
    _Pair("instruction", "output", "input"),
    _Pair("instruction", "response", "context"),
    _Pair("prompt", "response"),
    _Pair("prompt", "completion"),
    _Pair("question", "answer"),
)


def _turns(
    row: Mapping[str, Any], name: str, role_key: str, text_key: str, roles: Mapping[str, str], prompts: bool
) -> tuple[Message, ...]:
    messages: list[Message] = []
    for place, turn in enumerate(_list(row, name)):
        where = f"{name}[{place}]"
        if not isinstance(turn, dict):
            raise RowError(f"`{where}` is {kind(turn)}; an object with `{role_key}` and `{text_key}` is needed")
        role = roles.get(_text(turn, role_key, where))
        if role is None:
            raise RowError(f"`{where}.{role_key}` is {turn[role_key]!r}; allowed: {', '.join(roles)}")
        due = ("system", "user") if not messages else ("assistant",) if messages[-1].role == "user" else ("user",)
        if role not in due:
            raise RowError(
                f"`{where}.{role_key}` is {turn[role_key]!r} where {' or '.join(due)} is due: "
                "user and assistant take turns after at most one system message"
            )
        messages.append(Message(role, _text(turn, text_key, where)))
    if messages[-1].role != "assistant" and not (prompts and messages[-1].role == "user"):
        raise RowError(f"`{name}` ends with {messages[-1].role}; the assistant must have the last turn")
    return tuple(messages)


def _texts_in_turn(row: Mapping[str, Any]) -> tuple[Message, ...]:
    texts = _list(row, "conversations")
    for place, text in enumerate(texts):
        _check_text(text, f"conversations[{place}]")
    if len(texts) == 1:
        raise RowError("`conversations` has one text; a question and an answer are needed")
    return tuple(Message(ROLES[1 + place % 2], text) for place, text in enumerate(texts))


def _list(row: Mapping[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list) or not value:
        found = "missing" if value is None else "empty" if value == [] else kind(value)
        raise RowError(f"`{name}` is {found}; a list of turns is needed")
    return value


def _text(row: Mapping[str, Any], name: str, where: str = "") -> str:
    text = row.get(name)
    _check_text(text, f"{where}.{name}" if where else name)
    return str(text)


def _check_text(text: Any, where: str) -> None:
    if not isinstance(text, str):
        raise RowError(f"`{where}` is {'missing' if text is None else kind(text)}; a text is needed")
    if not text.strip():
        raise RowError(f"`{where}` is empty; a text is needed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RowError(f"`{where}` holds half of a surrogate pair, which is no character; take it out") from None


def kind(value: Any) -> str:
    """What a JSON value is, for messages."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
