"""A side of a data set as tokens, and what becomes of its conversations on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Conversation
from layersig.data.examples import Example
from layersig.errors import UserError


@dataclass(frozen=True, slots=True)
class EncodedConversations:
    """The encoded form of a list of conversations.

    Attributes:
        examples: Their examples, in the same order, without those that hold no target.
        truncated: Conversations cut at `max_tokens`.
        without_target: Conversations left out because no target was within `max_tokens`.
        unlearnt: Ids of those among them that have no target at any length.
        last_turn_only: Conversations of which only the last of several answers is a target, because the template
            renders earlier turns otherwise once more turns follow.
        system_merged: Conversations whose system message went into the first user turn.
        control_text: Conversations that hold the text of a special token, such as `<|im_end|>`; it was encoded as
            ordinary text.
        rewritten: Conversations of which the template changes or leaves out a part that is learnt from.
        rewritten_parts: Those conversations by part, such as `answers`; one may count under several.
        first_rewritten: Id of the first of them; None when there is none.
    """

    examples: tuple[Example, ...]
    truncated: int
    without_target: int
    unlearnt: frozenset[str]
    last_turn_only: int
    system_merged: int
    control_text: int
    rewritten: int
    rewritten_parts: Mapping[str, int]
    first_rewritten: str | None

    def only(self, ids: Set[str], unlearnt: frozenset[str]) -> EncodedConversations:
        """The same without the examples of other ids, which count as without a target, some of them at any length."""
        examples = tuple(example for example in self.examples if example.id in ids)
        left_out = len(self.examples) - len(examples)
        return replace(self, examples=examples, without_target=self.without_target + left_out, unlearnt=unlearnt)


class CannotEncode(UserError):
    """A conversation that cannot be encoded.

    Attributes:
        conversation: Its id.
    """

    def __init__(self, conversation: str, message: str) -> None:
        super().__init__(message)
        self.conversation = conversation


def encode(
    chat: ChatFormat,
    conversations: Sequence[Conversation],
    max_tokens: int,
    advance: Callable[[int], None] | None = None,
) -> EncodedConversations:
    """Tokens and targets of conversations.

    Args:
        chat: Encodes each of them.
        conversations: The conversations.
        max_tokens: Longer ones are cut from the right.
        advance: Called with 1 after every conversation.

    Raises:
        CannotEncode: The template cannot render a conversation, or renders a prompt that does not begin its answer.
    """
    examples: list[Example] = []
    truncated = last_turn_only = system_merged = control_text = 0
    parts: Counter[str] = Counter()
    rewritten: list[str] = []
    unlearnt: list[str] = []
    for conversation in conversations:
        try:
            coded = chat.encode(conversation)
        except UserError as error:
            raise CannotEncode(conversation.id, str(error)) from error
        truncated += len(coded.tokens) > max_tokens
        last_turn_only += coded.last_turn_only
        system_merged += coded.system_merged
        control_text += coded.control_text
        parts.update(coded.altered)
        rewritten += [conversation.id] * bool(coded.altered)
        unlearnt += [conversation.id] * (not coded.targets.any())
        tokens, targets = coded.tokens[:max_tokens], coded.targets[:max_tokens]
        if targets.any():
            examples.append(Example(conversation.id, conversation.group, tokens, targets))
        if advance is not None:
            advance(1)
    return EncodedConversations(
        tuple(examples),
        truncated,
        len(conversations) - len(examples),
        frozenset(unlearnt),
        last_turn_only,
        system_merged,
        control_text,
        len(rewritten),
        dict(sorted(parts.items())),
        next(iter(rewritten), None),
    )
