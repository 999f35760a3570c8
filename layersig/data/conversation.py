"""A conversation: what every raw row becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from layersig.jsonform import dumps


class Message(NamedTuple):
    """One turn.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        content: Text that is never interpreted; empty only where an assistant calls tools.
        trained: False where the row marks an assistant's turn as not to be learnt: it is context, never a target.
        reasoning: What the assistant thought before it answered, kept apart from `content`.
        calls: Tools that the assistant calls: `name`, `arguments` (an object), and `id` where there is one.
        tags: Other keys that chat templates read: `name`, `tool_call_id`.
    """

    role: str
    content: str
    trained: bool = True
    reasoning: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    tags: Mapping[str, str] = {}

    def beyond_text(self) -> dict[str, Any]:
        """What it holds in addition to role and content, under the field names of a row; empty for most."""
        found: dict[str, Any] = {} if self.trained else {"train": False}
        if self.reasoning:
            found["reasoning_content"] = self.reasoning
        if self.calls:
            found["tool_calls"] = list(self.calls)
        return {**found, **self.tags}


class Conversation(NamedTuple):
    """An optional system message, then user and assistant in turn, the assistant last.

    Between two assistant turns there may be results of tools in place of a user turn.

    Attributes:
        id: Content hash: equal conversations have equal ids, wherever they appear.
        group: Label shared by conversations that must not straddle the split.
        messages: The turns.
        tools: Tools that the assistant may call, as the chat template takes them.
        rejected: Of a pair, the turns of the same conversation with the rejected response; else empty.
    """

    id: str
    group: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    rejected: tuple[Message, ...] = ()

    @property
    def first_prompt(self) -> str:
        """The first user turn, without surrounding white space."""
        return next(message.content for message in self.messages if message.role == "user").strip()

    @property
    def text(self) -> str:
        """All that is said, thought and called, one below the other."""
        messages = (*self.messages, *(each for each in self.rejected if each not in self.messages))
        texts = ((message.reasoning, message.content, *map(dumps, message.calls)) for message in messages)
        return "\n".join(text for parts in texts for text in parts if text)

    @property
    def other(self) -> Conversation:
        """Of a pair, the conversation with the rejected response."""
        return self._replace(messages=self.rejected, rejected=())

    def row(self) -> dict[str, Any]:
        """The conversation as a row that reads back as the same messages and tools."""
        turns = [
            {"role": message.role, "content": message.content, **message.beyond_text()} for message in self.messages
        ]
        return {"messages": turns, "tools": list(self.tools)} if self.tools else {"messages": turns}


def content_id(
    messages: tuple[Message, ...],
    tools: tuple[Mapping[str, Any], ...] = (),
    rejected: tuple[Message, ...] = (),
) -> str:
    """The first 80 bits of the SHA-256 of messages, tools and rejected messages, in hexadecimal."""
    content: Any = _turns(messages)
    if tools or rejected:
        content = {"messages": content, "tools": list(tools)}
    if rejected:
        content["rejected"] = _turns(rejected)
    return hashlib.sha256(dumps(content).encode()).hexdigest()[:20]


def _turns(messages: tuple[Message, ...]) -> list[Any]:
    turns: list[Any] = []
    for message in messages:
        beyond = message.beyond_text()
        turns.append([message.role, message.content, beyond] if beyond else [message.role, message.content])
    return turns
