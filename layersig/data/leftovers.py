"""What becomes of the fields of a row that its conversation does not use; none is dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layersig.data.conversation import Message
from layersig.data.layout import Layout
from layersig.data.values import Ledger, RowError, is_blank
from layersig.data.vocabulary import Meaning, meanings

COPY = "copy of what is used"
UNUSED = "not used"
OTHER_NAMED = "not used: the recipe names another field"
GENERATED = "not used: responses are generated"

_HARMLESS = (Meaning.RECORD, Meaning.GRADE, Meaning.REJECTED)
_OF_RESPONSES = (Meaning.RESPONSE, Meaning.REASONING, Meaning.CALLS, Meaning.REJECTED, Meaning.GRADE)


def account_for_rest(layout: Layout, row: Mapping[str, Any], ledger: Ledger, messages: Sequence[Message]) -> None:
    """Note what becomes of the fields that nothing took; empty ones need no note.

    Args:
        layout: How the row is read.
        row: The row.
        ledger: What was used; takes the notes.
        messages: The turns of the row.

    Raises:
        RowError: A field holds what the conversation needs and cannot have.
    """
    taken = [row.get(name) for name in ledger.uses]
    taken = [value for value in taken if isinstance(value, str | list)]
    said = (Meaning.CONTEXT,) if layout.prompts else (Meaning.CONTEXT, Meaning.RESPONSE)
    asked = {name for meaning in said for name in layout.named.get(meaning, ())}
    for name, value in row.items():
        if name in ledger.uses or is_blank(value):
            continue
        known = meanings(name)
        harmless = next((meaning for meaning in known if meaning in _HARMLESS), None)
        if _copies(value, taken, messages):
            ledger.note(name, COPY)
        elif name in asked:
            raise RowError(
                f"`{name}`, which `fields` names, has no place beside a list of turns; put it into the turns, or take "
                "it out of `fields`"
            )
        elif layout.prompts and any(meaning in _OF_RESPONSES for meaning in known):
            ledger.note(name, GENERATED)
        elif harmless is not None:
            ledger.note(name, harmless)
        elif Meaning.REFUSED in known or (Meaning.NEEDED in known and not _is_in_turns(name, ledger)):
            raise RowError(
                f"`{name}` cannot be used ({known[0]}): write what it says into the prompt, or write "
                f'`fields.ignore = ["{name}"]`'
            )
        elif any(meaning in layout.named for meaning in known):
            ledger.note(name, OTHER_NAMED)
        elif known:
            ledger.note(name, UNUSED)
        else:
            ledger.unknown(name)


def _is_in_turns(name: str, ledger: Ledger) -> bool:
    """Whether a list of turns may be taken to say what the field does: choices are, pictures are not."""
    return Meaning.TURNS in ledger.uses.values() and name.casefold() in ("choices", "options")


def _copies(value: Any, taken: Sequence[Any], messages: Sequence[Message]) -> bool:
    """Whether a field repeats a used one, one turn, or all of the turns."""
    if isinstance(value, list):
        return value in taken
    if not isinstance(value, str):
        return False
    contents = [message.content.strip() for message in messages]
    return value in taken or value.strip() in contents or all(content in value for content in contents)
