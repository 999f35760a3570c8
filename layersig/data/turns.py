"""Lists of turns, in the forms that data sets have them, to messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from layersig.data.conversation import Message
from layersig.data.values import Ledger, RowError, check_mark, check_plain, check_text, is_blank, kind, unpacked
from layersig.data.vocabulary import Meaning, meanings

_ROLES = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
}
_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
    "function_response": "tool",
}
_DUE: Mapping[str, tuple[str, ...]] = {
    "": ("system", "user"),
    "system": ("system", "user"),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
_TAGS = ("name", "tool_call_id")
_PICTURES = ("image", "image_url", "audio", "input_audio", "video", "file")


def form_of(turns: Any) -> str:
    """How a list of turns is written: `texts`, `from/value`, `role/content`, `input/output`, or nothing known."""
    first = next(iter(turns), None) if isinstance(turns, list) else None
    if isinstance(first, str):
        return "texts"
    if isinstance(first, dict):
        forms = {"from/value": "from", "role/content": "role", "input/output": "output"}
        return next((form for form, key in forms.items() if key in first), "")
    return ""


def is_answer(turn: Any) -> bool:
    """Whether a turn, in whichever form, is the model's."""
    return _role_of(turn) == "assistant"


def turns_in(value: Any) -> Any:
    """The turns, or the one turn, that a text holds as JSON; any other text, such as an answer in JSON, as it is.

    A value that is no text is returned as it is.
    """
    found = unpacked(value)
    first = next(iter(found), None) if isinstance(found, list) else found
    return value if isinstance(value, str) and _role_of(first) is None else found


def _role_of(turn: Any) -> str | None:
    """The role of a turn, in whichever form; None where it names no speaker that is known."""
    if not isinstance(turn, dict):
        return None
    speaker, roles = (turn["role"], _ROLES) if "role" in turn else (turn.get("from"), _SHAREGPT_ROLES)
    return roles.get(speaker) if isinstance(speaker, str) else None


def read_turns(value: Any, name: str, ledger: Ledger) -> list[Message]:
    """The messages of a list of turns, whose order is checked only once all parts of a conversation are together.

    Args:
        value: The list, or the JSON text of it.
        name: Field that holds it.
        ledger: Told of every field of a turn.

    Raises:
        RowError: It names the turn and the field.
    """
    turns = _list(unpacked(value), name)
    form = form_of(turns)
    if form == "texts":
        speakers = ("user", "assistant")
        return [Message(speakers[place % 2], check_text(text, f"{name}[{place}]")) for place, text in enumerate(turns)]
    if form == "input/output":
        return [message for place, turn in enumerate(turns) for message in _exchange(turn, f"{name}[{place}]")]
    role_key, text_key, roles = (
        ("from", "value", _SHAREGPT_ROLES) if form == "from/value" else ("role", "content", _ROLES)
    )
    return [
        _turn(turn, f"{name}[{place}]", name, role_key, text_key, roles, ledger) for place, turn in enumerate(turns)
    ]


def check_order(messages: list[Message], name: str, *, prompts: bool) -> tuple[Message, ...]:
    """The messages, with several opening system messages made one.

    Args:
        messages: All of a row.
        name: What holds them, for messages.
        prompts: They are only asked, and may end with a user turn.

    Raises:
        RowError: Roles do not take turns, or nobody answers.
    """
    ordered: list[Message] = []
    for place, message in enumerate(messages):
        last = ordered[-1].role if ordered else ""
        if message.role not in _DUE[last]:
            due = [role for role in _DUE[last] if (last, role) not in (("system", "system"), ("tool", "tool"))]
            raise RowError(
                f"`{name}[{place}].role` is '{message.role}' where {' or '.join(due)} is due: user and assistant "
                "take turns after the system message, and results of tools follow the assistant"
            )
        if last == message.role == "system":
            ordered[-1] = Message("system", f"{ordered[-1].content}\n\n{message.content}")
        else:
            ordered.append(message)
    if not any(message.role == "user" for message in ordered):
        raise RowError(f"`{name}` has no user turn; a question is needed")
    if ordered[-1].role != "assistant" and not (prompts and ordered[-1].role == "user"):
        raise RowError(f"`{name}` ends with {ordered[-1].role}; the assistant must have the last turn")
    return tuple(ordered)


def read_calls(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """Calls of tools, as a list or one, as objects or JSON text, with or without OpenAI's `function` around each.

    Raises:
        RowError: One has no name, or arguments that are no object.
    """
    calls = unpacked(value)
    found = []
    for place, call in enumerate(calls if isinstance(calls, list) else [calls]):
        at = f"{where}[{place}]" if isinstance(calls, list) else where
        call = unpacked(call)
        inner = call.get("function", call) if isinstance(call, dict) else call
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
            raise RowError(f"`{at}` is no call of a tool; an object with `name` and `arguments` is needed")
        arguments = unpacked(inner.get("arguments", inner.get("parameters")) or {})
        if not isinstance(arguments, dict):
            raise RowError(f"`{at}.arguments` is {kind(arguments)}; an object, or the JSON text of one, is needed")
        check_plain(arguments, f"{at}.arguments")
        identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        found.append({**identity, "name": inner["name"], "arguments": arguments})
    return tuple(found)


def read_tools(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """Tools that may be called, with OpenAI's `function` around each, as chat templates expect.

    Raises:
        RowError: It is no list of objects with names.
    """
    tools = unpacked(value)
    if isinstance(tools, dict):
        tools = [tools]
    if not isinstance(tools, list):
        raise RowError(f"`{where}` is {kind(tools)}; a list of tools, or the JSON text of one, is needed")
    found = []
    for place, tool in enumerate(tools):
        tool = unpacked(tool)
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise RowError(f"`{where}[{place}]` is no tool; an object with `name` and `parameters` is needed")
        check_plain(tool, f"{where}[{place}]")
        found.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tuple(found)


def _turn(
    turn: Any, where: str, name: str, role_key: str, text_key: str, roles: Mapping[str, str], ledger: Ledger
) -> Message:
    if not isinstance(turn, dict):
        raise RowError(f"`{where}` is {kind(turn)}; an object with `{role_key}` and `{text_key}` is needed")
    said = check_text(turn.get(role_key), f"{where}.{role_key}")
    role = roles.get(said)
    if role is None:
        raise RowError(f"`{where}.{role_key}` is {said!r}; allowed: {', '.join(roles)}")
    reading = _Reading(where, f"{name}[]", role, ledger)
    for key, value in turn.items():
        if key not in (role_key, text_key) and not is_blank(value):
            reading.take(key, value)
    content = turn.get(text_key)
    if said == "function_call":
        reading.calls += read_calls(content, f"{where}.{text_key}")
        content = None
    text = _content(content, f"{where}.{text_key}", reading)
    return Message(role, text, reading.trained, "\n\n".join(reading.thoughts), tuple(reading.calls), reading.tags)


class _Reading:
    """The meaning of a turn's keys other than role and text."""

    def __init__(self, where: str, place: str, role: str, ledger: Ledger) -> None:
        self.where = where
        self.place = place
        self.role = role
        self.ledger = ledger
        self.trained = True
        self.thoughts: list[str] = []
        self.calls: list[Mapping[str, Any]] = []
        self.tags: dict[str, str] = {}

    def take(self, key: str, value: Any) -> None:
        at, place = f"{self.where}.{key}", f"{self.place}.{key}"
        if self.ledger.ignores(place):
            return
        if key in _TAGS:
            self.tags[key] = check_text(value, at)
            self.ledger.note(place, "passed to the chat template")
            return
        for meaning in meanings(key):
            match meaning:
                case Meaning.REASONING if self.role == "assistant":
                    self.thoughts.append(check_text(value, at))
                case Meaning.CALLS if self.role == "assistant":
                    self.calls += read_calls(value, at)
                case Meaning.KEEP | Meaning.DROP:
                    kept = self.ledger.mark(value, key, meaning, at, place)
                    if kept is None:
                        continue
                    if not kept and self.role == "assistant":
                        check_mark(value, key, at, place)
                        self.trained = False
                case Meaning.REFUSED | Meaning.NEEDED:
                    raise RowError(
                        f'`{at}` cannot be used ({meaning}); delete it, or write `fields.ignore = ["{place}"]`'
                    )
                case Meaning.RECORD | Meaning.GRADE | Meaning.REJECTED:
                    pass
                case _:
                    continue
            self.ledger.note(place, meaning)
            return
        self.ledger.unknown(place)


def _content(content: Any, where: str, reading: _Reading) -> str:
    """The text of a turn: a text, parts of it, or nothing where an assistant calls tools."""
    if isinstance(content, list):
        content = _joined(content, where, reading)
    elif isinstance(content, dict) and reading.role == "tool":
        check_plain(content, where)
        content = json.dumps(content, ensure_ascii=False)
    if content in (None, "") and reading.role == "assistant" and reading.calls:
        return ""
    return check_text(content, where)


def _joined(parts: list[Any], where: str, reading: _Reading) -> str:
    """The text parts, one a line; thoughts among them are kept apart."""
    texts = []
    for place, part in enumerate(parts):
        at = f"{where}[{place}]"
        if not isinstance(part, dict):
            raise RowError(f"`{where}` is a list with {kind(part)} in it; a text, or parts with `type` are needed")
        sort = part.get("type", "text")
        if sort in ("text", "input_text", "output_text"):
            if is_blank(part.get("text")):
                continue
            texts.append(check_text(part.get("text"), f"{at}.text"))
        elif sort in ("thinking", "reasoning") and reading.role == "assistant":
            reading.thoughts.append(check_text(part.get("thinking", part.get("text")), f"{at}.{sort}"))
        elif isinstance(sort, str):
            what = (
                "pictures, sound and files have no place in a conversation of texts"
                if sort in _PICTURES
                else ("only parts of text are read")
            )
            raise RowError(f"`{at}` is of type '{sort[:40]}'; {what}: delete the row, or write the part as text")
        else:
            raise RowError(f"`{at}.type` is {kind(sort)}; a text such as 'text' is needed")
    return "\n".join(texts)


def _exchange(turn: Any, where: str) -> list[Message]:
    if not isinstance(turn, dict):
        raise RowError(f"`{where}` is {kind(turn)}; an object with `input` and `output` is needed")
    return [
        Message("user", check_text(turn.get("input"), f"{where}.input")),
        Message("assistant", check_text(turn.get("output"), f"{where}.output")),
    ]


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        found = "missing" if value is None else "empty" if value == [] else kind(value)
        raise RowError(f"`{name}` is {found}; a list of turns is needed")
    return value
