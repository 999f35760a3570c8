"""Turn a conversation into tokens, with a mask of the tokens to predict.

The loss is completion-only (ours where the ILA paper is silent): targets are what the assistant writes, with the token
that ends its turn, and nothing of the template around it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layersig.data.conversation import Conversation, Message
from layersig.data.fidelity import altered
from layersig.data.templates import Tools, resolve_template
from layersig.errors import UserError
from layersig.jsonform import dumps


class _Chat(NamedTuple):
    """Arranged messages, and the tools that the assistant may call."""

    messages: tuple[Message, ...]
    tools: Tools


class _Prefix(NamedTuple):
    """The text of the first `turns` messages; with `prompt`, and of the opening of the assistant's turn."""

    turns: int
    prompt: bool
    text: str


class EncodedText(NamedTuple):
    """A conversation as tokens.

    Attributes:
        tokens: Token ids, int32 [T].
        targets: Which of them are predicted, bool [T].
        last_turn_only: Whether only the last of several answers is a target, because the template renders earlier
            turns otherwise once more turns follow.
        altered: Parts that are learnt from and that the template changes or leaves out, such as `answers`.
        system_merged: Whether the system message went into the first user turn.
        control_text: Whether it holds the text of a special token, such as `<|im_end|>`, encoded as ordinary text.
    """

    tokens: NDArray[np.int32]
    targets: NDArray[np.bool_]
    last_turn_only: bool
    altered: frozenset[str]
    system_merged: bool = False
    control_text: bool = False


class ChatFormat:
    """A tokenizer with the chat template that holds for it.

    Attributes:
        tokenizer: A Hugging Face tokenizer.
        template: The template.
    """

    def __init__(self, tokenizer: Any, choice: str = "auto") -> None:
        """Resolve the template.

        Args:
            tokenizer: A Hugging Face tokenizer, fast or slow.
            choice: `auto` (the model's own template, else `plain`), `plain`, or the text of a Jinja template.

        Raises:
            UserError: The template cannot be used.
        """
        self.tokenizer = tokenizer
        self.template = resolve_template(tokenizer, choice)
        added = tokenizer.added_tokens_decoder
        self._special = tuple(
            sorted((token.content for token in added.values() if token.special), key=len, reverse=True)
        )
        self._control_text = re.compile("|".join(map(re.escape, self._special)) or r"(?!)")
        # An answer may well write tokens such as `<think>`, which are added but not special; they stay tokens.
        self._strict_tokenizer = copy(tokenizer)
        self._strict_tokenizer.chat_control_tokens = []
        self._is_control = np.zeros(len(tokenizer), np.bool_)
        self._is_control[
            [
                index
                for index, token in added.items()
                if token.special or (token.content in self.template.text and not token.content.isspace())
            ]
        ] = True

    @property
    def turn_end(self) -> int | None:
        """The control token that ends an answer; None when there is none, so that a model will not learn to stop.

        It is the first behind the answer: a template may write another one where a conversation ends.
        """
        coded = self._code(_Chat((Message("user", "a"), Message("assistant", "b")), ()))
        found = None
        for token in map(int, coded.tokens[np.flatnonzero(coded.targets)][::-1]):
            if self._is_control[token]:
                found = token
            elif self.tokenizer.decode(token).strip():
                break
        return found

    def prompt(self, messages: Sequence[Message], tools: Tools = ()) -> NDArray[np.int32]:
        """Tokens, int32 [T], of messages that end with a user turn, up to where the assistant is to write.

        Args:
            messages: The turns so far.
            tools: Tools that the assistant may call.

        Raises:
            UserError: The template cannot render them.
        """
        chat = _Chat(self.template.arrange(messages), tools)
        return self._tokens(chat, [self._render(chat, len(chat.messages), prompt=True)])[0]

    def encode(self, conversation: Conversation) -> EncodedText:
        """Tokens and targets of a conversation.

        An answer is what follows the rendered prompt before it, once the rendered beginning of the conversation, but
        for the tokens that end it, has been checked to be a true prefix of the whole. A token that runs from the prompt
        into the answer is a target. Where the template marks what the assistant writes (`generation` blocks), it must
        be marked too; the marks alone count where that beginning is none.

        Raises:
            UserError: The template cannot render the conversation, or renders a prompt that does not begin its answer.
        """
        chat = _Chat(self.template.arrange(conversation.messages), conversation.tools)
        merged = len(chat.messages) < len(conversation.messages)
        return self._code(chat)._replace(system_merged=merged, control_text=self._holds_control_text(chat))

    def _code(self, chat: _Chat) -> EncodedText:
        turns = _assistant_turns(chat.messages)
        learnt = {turn for turn in turns if chat.messages[turn].trained}
        marked = self.template.marks_assistant and self.tokenizer.is_fast and len(learnt) == len(turns)
        if marked and not self._holds_control_text(chat):
            text = self._render(chat, len(chat.messages)).text
            tokens, targets = self._by_marks(chat, learnt)
            last_turn_only = False
        else:
            answers = self._answers(chat)
            text = answers[-1][1].text
            last_turn_only = len(answers) < len(turns)
            learnt &= {start.turns for start, _ in answers}
            tokens, targets = self._by_prefixes(chat, answers, learnt)
        # Nothing comes before the first token, so it cannot be predicted.
        targets[:1] = False
        changed = altered(self.template, chat.messages, chat.tools, text, learnt)
        return EncodedText(tokens, targets, last_turn_only, changed)

    def _by_marks(self, chat: _Chat, learnt: Collection[int]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        coded = self.tokenizer.apply_chat_template(
            self.template.turns(chat.messages),
            chat_template=self.template.text,
            return_dict=True,
            return_assistant_tokens_mask=True,
            tokenizer_kwargs={"verbose": False},
            **_tools(chat),
        )
        tokens = np.array(coded["input_ids"], np.int32)
        targets = np.array(coded["assistant_masks"], np.bool_)
        # Some templates close the block before the token that ends the turn; without it a model never learns to stop.
        borders = np.flatnonzero(np.diff(targets, prepend=False, append=False))
        for first, stop in zip(borders[::2], borders[1::2], strict=True):
            targets[stop : stop + 1] |= self._lacks_end(tokens, first, stop)
        # Others open it before the header of the turn.
        try:
            answers = self._answers(chat)
        except UserError:
            answers = []
        if len(answers) == len(learnt):
            targets &= self._by_prefixes(chat, answers, learnt)[1]
        return tokens, targets

    def _lacks_end(self, tokens: NDArray[np.int32], first: int, stop: int) -> bool:
        """Whether the token that ends the turn only follows these tokens of an answer."""
        if stop >= len(tokens) or not self._is_control[tokens[stop]]:
            return False
        last = tokens[self._end_of_turn(tokens, first, stop) - 1]
        # Other control tokens may come last in an answer, such as the end of a call.
        return not self._is_control[last] or (tokens[stop] in self._closing and last not in self._closing)

    @cached_property
    def _closing(self) -> frozenset[int]:
        """The control tokens right behind a plain answer, in the middle of a conversation and at its end."""
        asked, answer = Message("user", "a"), Message("assistant", "probe-of-the-answer")
        found = []
        for messages in ((asked, answer), (asked, answer, asked, Message("assistant", "b"))):
            try:
                text = self.template.render(self.tokenizer, messages)
            except UserError:  # it renders one exchange alone
                continue
            behind = text.partition(answer.content)[2].lstrip()
            found += self.tokenizer(behind, add_special_tokens=False, verbose=False).input_ids[:1]
        return frozenset(token for token in found if self._is_control[token])

    def _answers(self, chat: _Chat) -> list[tuple[_Prefix, _Prefix]]:
        """Where every answer starts and ends; of the last answer alone if the template rewrites earlier turns.

        An earlier answer may be followed by something else than at the end of a conversation, where templates write
        another token or one more.
        """
        whole = self._render(chat, len(chat.messages))
        assistant_turns = _assistant_turns(chat.messages)
        answers = []
        for turns in assistant_turns:
            last = turns == assistant_turns[-1]
            end = whole if last else self._render(chat, turns + 1)
            start = self._render(chat, turns, prompt=True)
            if whole.text.startswith(self._unclosed(end.text)) and self._opens(chat, start, end):
                answers.append((start, end))
            elif last:
                raise UserError(
                    f"chat template ({self.template.name}): the prompt it renders before an answer is not the "
                    "beginning of what it renders with the answer, so it is unclear where the answer begins. "
                    "Set model.chat_template to `plain` or to a `file:`."
                )
        return answers if len(answers) == len(assistant_turns) else answers[-1:]

    def _opens(self, chat: _Chat, start: _Prefix, end: _Prefix) -> bool:
        # A template may open the assistant's turn with more than it keeps (an empty thought, say); the answer then
        # starts where the two part, which is past everything said before.
        return end.text.startswith(start.text) or end.text.startswith(
            self._unclosed(self._render(chat, start.turns).text)
        )

    def _unclosed(self, text: str) -> str:
        """The text without the special tokens and the white space at its end."""
        text = text.rstrip()
        while ending := next(filter(text.endswith, self._special), ""):
            text = text.removesuffix(ending).rstrip()
        return text

    def _by_prefixes(
        self, chat: _Chat, answers: Sequence[tuple[_Prefix, _Prefix]], learnt: Collection[int]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        coded = self._tokens(chat, [prefix for answer in answers for prefix in answer])
        tokens = coded[-1]
        targets = np.zeros(len(tokens), np.bool_)
        for (prefix, _), start, end in zip(answers, coded[::2], coded[1::2], strict=True):
            if prefix.turns not in learnt:
                continue
            first, stop = self._end_of_prompt(start, tokens), _shared(end, tokens)
            if stop < len(end) and self._lacks_end(tokens, first, stop):
                stop += 1
            targets[first : self._end_of_turn(tokens, first, stop)] = True
        return tokens, targets

    def _end_of_prompt(self, prompt: NDArray[np.int32], tokens: NDArray[np.int32]) -> int:
        """The first token with text beyond the prompt."""
        first = stop = _shared(prompt, tokens)
        if first < len(prompt):
            # What follows may change how the end of the prompt is cut into tokens: "\n\n" alone, "\n" and "\n" before
            # a word, in tokenizers of GPT-2's kind. What comes after a control token is cut the same in any case, so
            # it is the opening of a thought that is not kept.
            (control,) = np.nonzero(self._is_control[prompt[first:]])
            rest = self.tokenizer.decode(prompt[first:][: control[0] if len(control) else None])
            while stop < len(tokens) and rest.startswith(self.tokenizer.decode(tokens[first : stop + 1])):
                stop += 1
        return stop

    def _end_of_turn(self, tokens: NDArray[np.int32], first: int, stop: int) -> int:
        """The end of an answer without the white space that a template puts after the token that ends the turn."""
        (control,) = np.nonzero(self._is_control[tokens[first:stop]])
        if not len(control):
            return stop
        end = first + int(control[-1]) + 1
        return stop if self.tokenizer.decode(tokens[end:stop]).strip() else end

    def _render(self, chat: _Chat, turns: int, *, prompt: bool = False) -> _Prefix:
        text = self.template.render(self.tokenizer, chat.messages[:turns], prompt=prompt, tools=chat.tools)
        return _Prefix(turns, prompt, text)

    def _tokens(self, chat: _Chat, prefixes: Sequence[_Prefix]) -> list[NDArray[np.int32]]:
        if self._holds_control_text(chat):
            coded = [
                self._strict_tokenizer.apply_chat_template(
                    self.template.turns(chat.messages[: prefix.turns]),
                    chat_template=self.template.text,
                    add_generation_prompt=prefix.prompt,
                    sanitize_control_tokens=True,
                    return_dict=False,
                    tokenizer_kwargs={"verbose": False},
                    **_tools(chat),
                )
                for prefix in prefixes
            ]
        else:
            # The template has written every special token, so the tokenizer must not add a second BOS.
            texts = [prefix.text for prefix in prefixes]
            coded = self.tokenizer(texts, add_special_tokens=False, verbose=False).input_ids
        return [np.array(ids, np.int32) for ids in coded]

    def _holds_control_text(self, chat: _Chat) -> bool:
        return any(map(self._control_text.search, _texts(chat)))


def _texts(chat: _Chat) -> Iterator[str]:
    """Everything in a conversation that a template may write, calls and tools as JSON."""
    for message in chat.messages:
        yield from (message.content, message.reasoning, *message.tags.values(), *map(dumps, message.calls))
    yield from map(dumps, chat.tools)


def _tools(chat: _Chat) -> dict[str, Any]:
    """The tools as an argument, where there are some: templates may ask whether they were given any."""
    return {"tools": list(chat.tools)} if chat.tools else {}


def _assistant_turns(messages: Sequence[Message]) -> list[int]:
    return [turn for turn, message in enumerate(messages) if message.role == "assistant"]


def _shared(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    """Length of the longest common beginning."""
    length = min(len(one), len(other))
    (parted,) = np.nonzero(one[:length] != other[:length])
    return int(parted[0]) if len(parted) else length
