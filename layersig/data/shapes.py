"""Rows to messages: which fields hold the conversation, and what becomes of all the others.

Every field of a row ends in one of five ways: it is used; it is known to change nothing that is learnt; it is a copy
of what is used; it marks the row as one not to learn; or it is recorded as unused or unknown, so that the user hears
of it. None is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from layersig.data.conversation import Message
from layersig.data.layout import Layout
from layersig.data.leftovers import COPY, UNUSED, account_for_rest
from layersig.data.turns import check_order, form_of, read_calls, read_tools, read_turns, turns_in
from layersig.data.values import Ledger, RowError, check_mark, check_text, is_blank, kind, unpacked
from layersig.data.vocabulary import Meaning, meanings, precedence

ACCEPTED = (
    "`messages` or `conversations` (a list of {role, content}, of {from, value}, of {input, output}, or LIMA's texts "
    "in turn); one prompt (`prompt`, `instruction`, `question`, `query`, `problem`, `input`) with one response "
    "(`response`, `output`, `completion`, `answer`, `solution`), with or without `system`, `context`, `input`, "
    "reasoning and tools; `prompt` with `chosen` and `rejected`"
)


class Reading(NamedTuple):
    """What a row amounts to.

    Attributes:
        messages: Its turns.
        tools: Tools that the assistant may call.
        shape: What the report calls the shape of the row, such as `prompt/response`.
        uses: What became of each of its fields; those of turns as `messages[].name`.
        unwanted: Field that marks the row as one not to learn; None for rows that are learnt.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    shape: str
    uses: Mapping[str, str]
    unwanted: str | None


def read_row(layout: Layout, row: Mapping[str, Any], like: Mapping[str, Any]) -> Reading:
    """The conversation of a row.

    Args:
        layout: How it is to be read.
        row: The row.
        like: A row that can be read; what this one lacks in comparison is reported as missing.

    Raises:
        RowError: It cannot be read; the field, what was found, what is allowed.
    """
    return _Row(layout, row, like).read()


def as_context(messages: Sequence[Message]) -> list[Message]:
    """The messages, of which no answer is learnt."""
    return [message._replace(trained=message.role != "assistant") for message in messages]


def fits(layout: Layout, row: Mapping[str, Any]) -> bool:
    """Whether a row has the fields of a conversation, whatever they hold."""
    return _Row(layout, row, row).fits()


class _Row:
    """One row while it is read: fields are taken one by one, and what is left in the end is accounted for."""

    def __init__(self, layout: Layout, row: Mapping[str, Any], like: Mapping[str, Any]) -> None:
        self.layout = layout
        self.row = row
        self.like = like
        self.ledger = Ledger(layout.ignored)
        self.filled = {name: value for name, value in row.items() if not is_blank(value) and name not in layout.ignored}
        self.claimed = {name for names in layout.named.values() for name in names}

    def of(self, meaning: Meaning) -> list[str]:
        """Filled fields of a meaning, those first that go before; only the named ones where the recipe names some."""
        if meaning in self.layout.named:
            return list(self.layout.named[meaning])
        found = [
            name
            for name, value in self.filled.items()
            if name not in self.claimed and meaning in meanings(name) and _can_be(meaning, value)
        ]
        return sorted(found, key=lambda name: (precedence(meaning, name), name))

    def some(self, meaning: Meaning) -> list[str]:
        """As `of`, without fields that the recipe names and this row leaves empty."""
        return [name for name in self.of(meaning) if name in self.filled]

    def turns(self) -> str | None:
        """The field that holds a list of turns; None when the conversation is in fields of its own."""
        if Meaning.PROMPT in self.layout.named:
            return None
        if Meaning.TURNS in self.layout.named:
            return self.of(Meaning.TURNS)[0]
        found = self.of(Meaning.TURNS)
        return next((name for name in found if name == "messages" or form_of(unpacked(self.row.get(name)))), None)

    def fits(self) -> bool:
        """Whether it has the fields of a conversation."""
        if self.turns() is not None:
            return True
        answered = self.layout.prompts or self.of(Meaning.RESPONSE) or self.of(Meaning.CALLS)
        return bool(self.of(Meaning.PROMPT) and answered)

    def read(self) -> Reading:
        for name in self.layout.ignored & self.row.keys():
            self.ledger.ignores(name)
        turns = self.turns()
        if turns is None and not self.fits():
            turns = _Row(self.layout, self.like, self.like).turns()
        shape, messages = self._exchange() if turns is None else self._turns(turns)
        messages = self._system(messages)
        messages = self._reasoning(messages, turns)
        tools = self._tools()
        unwanted = self._marks(messages)
        account_for_rest(self.layout, self.row, self.ledger, messages)
        ordered = check_order(messages, turns or shape, prompts=self.layout.prompts or shape.endswith("(LIMA)"))
        if not (self.layout.prompts or any(message.trained for message in ordered if message.role == "assistant")):
            marks = (place for place, use in self.ledger.uses.items() if use in (Meaning.KEEP, Meaning.DROP))
            unwanted = unwanted or next(marks)
        return Reading(ordered, tools, shape, self.ledger.uses, unwanted)

    def _turns(self, name: str) -> tuple[str, list[Message]]:
        value = unpacked(self._take(name, Meaning.TURNS))
        messages = read_turns(value, name, self.ledger)
        form = form_of(value)
        if form == "texts":
            if name != "conversations":
                raise RowError(f"`{name}` is a list of texts without speakers; a list of {{role, content}} is needed")
            if len(value) == 1:
                raise RowError("`conversations` has one text; a question and an answer are needed")
            return "conversations of texts (LIMA)", messages
        notes = {"from/value": " of from/value (ShareGPT)", "input/output": " of input/output"}
        return f"{name}{notes.get(form, '')}", messages

    def _exchange(self) -> tuple[str, list[Message]]:
        """A prompt and a response in fields of their own, either of them perhaps a list of turns."""
        prompt = self._one(Meaning.PROMPT)
        responses = self._responses()
        prompted = self._text_or_turns(prompt, Meaning.PROMPT, "user")
        answered: list[Message] = []
        if responses and form_of(turns_in(self.row.get(responses[0]))) in _SPOKEN:
            answered = self._text_or_turns(responses[0], Meaning.RESPONSE, "assistant")
            if answered[0].role != "assistant":  # the whole conversation, most often with the prompt once more
                again = prompted[-1].content in [message.content for message in answered]
                prompted, self.ledger.uses[prompt] = [], COPY if again else UNUSED
        elif responses:
            texts = [check_text(_only(self._take(name, Meaning.RESPONSE)), name) for name in responses]
            answered = [Message("assistant", "\n\n".join(texts))]
        if prompted and prompted[-1].role == "user":
            prompted[-1] = self._with_context(prompted[-1])
        if not answered and not self.layout.prompts:
            answered = self._called()
        if answered:
            prompted = as_context(prompted)
        shape = f"{prompt}/{'+'.join(responses)}" if responses else prompt
        return shape, [*self._history(), *prompted, *answered]

    def _one(self, meaning: Meaning) -> str:
        """The only field of a meaning; `input` is a prompt where nothing else is, and context elsewhere."""
        found = self.of(meaning)
        if meaning is Meaning.PROMPT and len(found) > 1:
            found = [name for name in found if Meaning.CONTEXT not in meanings(name)] or found
        found = self._without_copies(found) if meaning not in self.layout.named else found
        if len(found) > 1:
            names = " and ".join(f"`{name}`" for name in found)
            chosen = {Meaning.PROMPT: "...", Meaning.RESPONSE: "...", meaning: found[0]}
            raise RowError(
                f"{names} could each be the {meaning}; name the fields in the recipe, such as "
                f'`fields = {{ prompt = "{chosen[Meaning.PROMPT]}", response = "{chosen[Meaning.RESPONSE]}" }}`'
            )
        if not found:
            lacking = _Row(self.layout, self.like, self.like).of(meaning) or [str(meaning)]
            value = self.row.get(lacking[0])
            raise RowError(f"`{lacking[0]}` is {'empty' if value == '' else 'missing'}; a text is needed")
        return found[0]

    def _responses(self) -> list[str]:
        if self.layout.prompts:
            return []
        if Meaning.RESPONSE in self.layout.named:
            return list(self.layout.named[Meaning.RESPONSE])
        if not self.of(Meaning.RESPONSE) and self.of(Meaning.CALLS):
            return []
        return [self._one(Meaning.RESPONSE)]

    def _without_copies(self, names: Sequence[str]) -> list[str]:
        """Of fields that could stand for one another, those that do not repeat an earlier one."""
        kept: list[str] = []
        for name in names:
            value = self.row[name]
            if not any(value == self.row[other] for other in kept):
                kept.append(name)
        return kept

    def _text_or_turns(self, name: str, meaning: Meaning, role: str) -> list[Message]:
        value = turns_in(self._take(name, meaning))
        if form_of(value) in _SPOKEN:
            return read_turns(value, name, self.ledger)
        return [Message(role, check_text(self.row.get(name), name))]

    def _with_context(self, prompt: Message) -> Message:
        parts = [prompt.content]
        for name in self.some(Meaning.CONTEXT):
            if name not in self.ledger.uses:
                value = self._take(name, Meaning.CONTEXT)
                texts = value if isinstance(value, list) else [value]
                parts += [check_text(text, name) for text in texts]
        return prompt._replace(content="\n\n".join(parts))

    def _history(self) -> list[Message]:
        messages: list[Message] = []
        for name in self.of(Meaning.HISTORY):
            value = unpacked(self._take(name, Meaning.HISTORY))
            if form_of(value) in _SPOKEN:
                messages += read_turns(value, name, self.ledger)
                continue
            for place, pair in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(pair, list) or len(pair) != 2:
                    raise RowError(f"`{name}[{place}]` is {kind(pair)}; a pair of a question and an answer is needed")
                messages += [
                    Message(role, check_text(text, f"{name}[{place}]"))
                    for role, text in zip(("user", "assistant"), pair, strict=True)
                ]
        return messages

    def _called(self) -> list[Message]:
        calls = [call for name in self.of(Meaning.CALLS) for call in read_calls(self._take(name, Meaning.CALLS), name)]
        return [Message("assistant", "", calls=tuple(calls))] if calls else []

    def _system(self, messages: list[Message]) -> list[Message]:
        """A system message of its own field goes before the turns."""
        for name in self.some(Meaning.SYSTEM):
            text = check_text(self.row.get(name), name)
            first = messages[0] if messages else None
            if first is not None and first.role == "system":
                if text.strip() != first.content.strip():
                    raise RowError(
                        f"`{name}` and the first turn are two different system messages; delete one, or write "
                        f'`fields.ignore = ["{name}"]`'
                    )
                self.ledger.note(name, COPY)
            else:
                self.ledger.note(name, Meaning.SYSTEM)
                messages = [Message("system", text), *messages]
        return messages

    def _reasoning(self, messages: list[Message], turns: str | None) -> list[Message]:
        """Reasoning in a field of its own belongs to the only answer there is."""
        answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
        for name in self.some(Meaning.REASONING):
            if turns is not None and len(answers) != 1 and Meaning.REASONING not in self.layout.named:
                continue
            if self.layout.prompts or not answers:
                self.ledger.note(name, UNUSED)
                continue
            message = messages[answers[-1]]
            thought = check_text(_only(self.row[name]), name)
            if thought.strip() in message.content:
                self.ledger.note(name, COPY)
                continue
            self.ledger.note(name, Meaning.REASONING)
            if message.reasoning:
                raise RowError(
                    f"`{name}` is a second reasoning of one answer; name one in the recipe: "
                    f'`fields.reasoning = "{name}"`'
                )
            messages = [*messages]
            messages[answers[-1]] = message._replace(reasoning=thought)
        return messages

    def _tools(self) -> tuple[Mapping[str, Any], ...]:
        names = self.some(Meaning.TOOLS)
        return tuple(tool for name in names for tool in read_tools(self._take(name, Meaning.TOOLS), name))

    def _marks(self, messages: Sequence[Message]) -> str | None:
        """The field, if any, that marks the row as one not to learn; a text that is the answer itself marks nothing."""
        answers = {message.content.strip().casefold() for message in messages if message.role == "assistant"}
        unwanted = None
        for name, value in self.filled.items():
            for meaning in meanings(name):
                if name in self.ledger.uses or meaning not in (Meaning.KEEP, Meaning.DROP):
                    continue
                if isinstance(value, list | str) and Meaning.REJECTED in meanings(name):
                    continue
                if isinstance(value, str) and value.strip().casefold() in answers:
                    continue
                if not isinstance(value, bool | str) and Meaning.GRADE in meanings(name):
                    continue
                learnt = self.ledger.mark(value, name, meaning, name, name)
                if learnt is not None:
                    self.ledger.note(name, meaning)
                    if not learnt and not self.layout.prompts:
                        check_mark(value, name, name, name)
                        unwanted = unwanted or name
        return unwanted

    def _take(self, name: str, meaning: Meaning) -> Any:
        self.ledger.note(name, meaning)
        return self.row.get(name)


_SPOKEN = ("role/content", "from/value")
"""Forms of lists whose turns name their speakers."""


def _can_be(meaning: Meaning, value: Any) -> bool:
    """Whether a value may have the meaning: marks are yes or no, which nothing that is said can be."""
    return isinstance(value, bool) <= (meaning in (Meaning.KEEP, Meaning.DROP))


def _only(value: Any) -> Any:
    """The one text of a list of one; any other value, JSON text of a list too, as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
