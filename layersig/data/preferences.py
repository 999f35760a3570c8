"""Rows with a chosen and a rejected response, to a conversation with either of them.

The prompt is a field of its own, the turns before the responses, or what both conversations begin with. Each side is
read by the reader of conversations (`layersig.data.shapes`), so that all its forms of turns hold for pairs too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from layersig.data.conversation import Message
from layersig.data.layout import Layout
from layersig.data.shapes import Reading, as_context, read_row
from layersig.data.turns import form_of, is_answer, turns_in
from layersig.data.values import RowError, is_blank, unpacked
from layersig.data.vocabulary import Meaning, is_chosen, meanings, precedence

ACCEPTED = (
    "`chosen` and `rejected`, each a text or a list of turns, with a `prompt` (a text or a list of turns), with the "
    "turns before them in `messages` or `conversations`, or each with the whole conversation"
)
LEARNT = "rejected response, learnt against"
_SPOKEN = ("role/content", "from/value")
_TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):")
_WORDS = re.compile(r".*\s", re.DOTALL)
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}


class PairReading(NamedTuple):
    """What a row with a pair amounts to.

    Attributes:
        chosen: The conversation with the chosen response; of its answers those to the prompt alone are learnt.
        rejected: The turns of the conversation with the rejected response, likewise.
    """

    chosen: Reading
    rejected: tuple[Message, ...]


def pair_fields(layout: Layout, row: Mapping[str, Any]) -> tuple[str, str] | None:
    """The fields with the chosen and the rejected response; None where the row lacks either."""
    filled = [
        name
        for name, value in row.items()
        if name not in layout.ignored and not is_blank(value) and not isinstance(value, bool | int | float)
    ]
    unwanted = sorted(
        (name for name in filled if Meaning.REJECTED in meanings(name)),
        key=lambda name: (precedence(Meaning.REJECTED, name), name),
    )
    sides = (
        layout.named.get(Meaning.RESPONSE) or [name for name in filled if is_chosen(name)],
        layout.named.get(Meaning.REJECTED) or unwanted,
    )
    chosen, rejected = (next((name for name in names if name in filled), None) for names in sides)
    return None if chosen is None or rejected is None else (chosen, rejected)


def no_pairs(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why rows without a pair among them cannot be learnt from."""
    kto = any("label" in row and "completion" in row for row in rows)
    what = (
        "rows of KTO (`prompt`, `completion`, `label`) grade single responses, which no objective here learns from: "
        "write pairs of them"
        if kto
        else "rows without pairs"
    )
    return f'{what}. An objective such as train.objective = "dpo" needs {ACCEPTED}; "sft" learns from conversations.'


def read_pair(layout: Layout, row: Mapping[str, Any]) -> PairReading:
    """The two conversations of a row.

    Args:
        layout: How it is to be read.
        row: The row.

    Raises:
        RowError: It holds no pair, or one of two prompts; the field, what was found, what is allowed.
    """
    if len(layout.named.get(Meaning.RESPONSE, ())) > 1:
        raise RowError("`fields.response` names several fields, and a pair has one chosen response; name one")
    fields = pair_fields(layout, row)
    if fields is None:
        raise RowError(f"there is no pair; needed: {ACCEPTED}")
    first, second = fields
    implied = _implied_prompt(layout, row, first, second)
    chosen, rejected = (
        _side(layout, {key: value for key, value in row.items() if key != other}, name, implied)
        for name, other in ((first, second), (second, first))
    )
    shared = _shared(chosen.messages, rejected.messages)
    uses = {name: use for name, use in chosen.uses.items() if name in row or "[" in name} | {second: LEARNT}
    chosen = chosen._replace(uses=uses, shape=f"{chosen.shape} with {second}")
    if shared == len(chosen.messages) == len(rejected.messages):
        return PairReading(chosen._replace(unwanted=f"{first} = {second}"), rejected.messages)
    for messages, name in ((chosen.messages, first), (rejected.messages, second)):
        if shared == len(messages) or messages[shared].role != "assistant":
            raise RowError(f"`{name}` does not answer the prompt of the other response; both need the same prompt")
    return PairReading(chosen._replace(messages=_after(chosen.messages, shared)), _after(rejected.messages, shared))


def _side(layout: Layout, row: Mapping[str, Any], name: str, implied: str) -> Reading:
    """The conversation with the response in the field of that name."""
    value = _turns(row[name])
    named: dict[Meaning, tuple[str, ...]] = {**layout.named}
    named.pop(Meaning.REJECTED, None)
    before = _turns_before(layout, row, name)
    if isinstance(value, list) and value and not is_answer(value[0]):
        named.pop(Meaning.PROMPT, None)
        named.pop(Meaning.RESPONSE, None)
        named[Meaning.TURNS], row = (name,), {**row, name: value}
    elif before is not None:
        earlier = unpacked(row[before])
        turns = [*earlier, *(value if isinstance(value, list) else [_said(earlier, value)])]
        named.pop(Meaning.RESPONSE, None)
        named[Meaning.TURNS] = (before,)
        row = {key: turns if key == before else each for key, each in row.items() if key != name}
    else:
        named[Meaning.RESPONSE], row = (name,), {**row, name: value}
        if implied:
            named[Meaning.PROMPT] = ("prompt",)
            row |= {"prompt": implied, name: str(value).removeprefix(implied).lstrip()}
    return read_row(replace(layout, named=named), row, row)


def _turns_before(layout: Layout, row: Mapping[str, Any], name: str) -> str | None:
    """The field with the turns that a response follows; None where the prompt is in a field of its own."""
    if _fills(layout, {key: value for key, value in row.items() if key != name}, Meaning.PROMPT):
        return None
    listed = layout.named.get(Meaning.TURNS) or [each for each in row if Meaning.TURNS in meanings(each)]
    return next((each for each in listed if form_of(unpacked(row.get(each))) in _SPOKEN), None)


def _implied_prompt(layout: Layout, row: Mapping[str, Any], first: str, second: str) -> str:
    """What two texts begin with, up to a word, where nothing else is a prompt; as TRL finds it."""
    one, other = _turns(row[first]), _turns(row[second])
    rest = {name: value for name, value in row.items() if name not in (first, second)}
    asked = any(_fills(layout, rest, meaning) for meaning in (Meaning.PROMPT, Meaning.TURNS))
    if asked or not isinstance(one, str) or not isinstance(other, str):
        return ""
    alike = _WORDS.match(one[: _shared(one, other)])
    if alike is None or not alike[0].strip():
        raise RowError(f"there is no prompt: `{first}` and `{second}` begin with different words, and no field has one")
    return alike[0].rstrip()


def _fills(layout: Layout, row: Mapping[str, Any], meaning: Meaning) -> bool:
    """Whether the recipe names a field of that meaning, or a filled one has its name."""
    filled = (name for name, value in row.items() if not is_blank(value) and name not in layout.ignored)
    return meaning in layout.named or any(meaning in meanings(name) for name in filled)


def _turns(value: Any) -> Any:
    """A list of turns, also where it is one turn, JSON text or a transcript of hh-rlhf; any other value as it is."""
    found = turns_in(value)
    if isinstance(found, dict):
        return [found]
    if isinstance(found, str) and _TRANSCRIPT.match(found):
        _, *parts = _TRANSCRIPT.split(found)
        said = zip(parts[::2], parts[1::2], strict=True)
        return [{"role": _SPEAKERS[speaker], "content": text.strip()} for speaker, text in said]
    return found


def _said(turns: Sequence[Mapping[str, Any]], text: Any) -> dict[str, Any]:
    """A text as the assistant's turn, in the form of others."""
    return {"from": "gpt", "value": text} if "from" in turns[0] else {"role": "assistant", "content": text}


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the longest common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))


def _after(messages: Sequence[Message], prompt: int) -> tuple[Message, ...]:
    """The messages, of which answers within the prompt are context and no targets."""
    return (*as_context(messages[:prompt]), *messages[prompt:])
