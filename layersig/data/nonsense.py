"""Conversations that say nothing: words in random order, or random tokens, in the form of real conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layersig.data.conversation import Conversation, Message
from layersig.streams import Streams


class Nonsense:
    """Replaces what is said, turn by turn; who says it, and the ids of conversations, stay.

    Args:
        text: `shuffled-words`, every turn's own words in random order, or `random-tokens`, as many tokens as a turn
            has, drawn uniformly from the vocabulary without special tokens.
        tokenizer: The model's.
        root: Root seed: every conversation has a stream of its own, so that it is the same in every sample.
    """

    def __init__(self, text: str, tokenizer: Any, root: int) -> None:
        self._make = {"shuffled-words": _shuffled, "random-tokens": self._random}[text]
        self._tokenizer, self._streams = tokenizer, Streams(root)
        special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        self._vocabulary = [number for number in sorted(tokenizer.get_vocab().values()) if number not in special]

    def of(self, conversation: Conversation) -> Conversation:
        """The conversation, saying nothing."""
        # Two responses to one prompt begin with the same draws, so that they keep one prompt.
        messages, rejected = (
            self._said(turns, conversation.id) for turns in (conversation.messages, conversation.rejected)
        )
        return conversation._replace(messages=messages, rejected=rejected)

    def _said(self, turns: Sequence[Message], identity: str) -> tuple[Message, ...]:
        rng = self._streams.generator("nonsense", identity)
        return tuple(
            turn._replace(content=self._make(turn.content, rng), reasoning=self._make(turn.reasoning, rng))
            for turn in turns
        )

    def _random(self, text: str, rng: np.random.Generator) -> str:
        count = len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        drawn: Sequence[int] = rng.choice(self._vocabulary, count).tolist()
        # Templates strip white space around a turn, which would count as a change by the template.
        decoded: str = self._tokenizer.decode(drawn).strip()
        return decoded or text


def _shuffled(text: str, rng: np.random.Generator) -> str:
    return " ".join(rng.permutation(np.array(text.split(), dtype=object)))
