"""A conversation: what every raw row becomes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from layersig.records import dumps

ROLES = ("system", "user", "assistant")


class Message(NamedTuple):
    """One turn. `role` is `system`, `user` or `assistant`; `content` is text and never interpreted."""

    role: str
    content: str


class Conversation(NamedTuple):
    """An optional system message, then user and assistant in turn, the assistant last.

    Attributes:
        id: Content hash: equal messages have equal ids, wherever they stand.
        group: Label shared by conversations that must not straddle the split.
        messages: The turns.
    """

    id: str
    group: str
    messages: tuple[Message, ...]

    @property
    def first_prompt(self) -> str:
        """The first user turn, without surrounding white space."""
        return next(message.content for message in self.messages if message.role == "user").strip()

    @property
    def text(self) -> str:
        """All turns, one below the other."""
        return "\n".join(message.content for message in self.messages)


def content_id(messages: tuple[Message, ...]) -> str:
    """The first 80 bits of the SHA-256 of the messages, in hexadecimal."""
    return hashlib.sha256(dumps(messages).encode()).hexdigest()[:20]
