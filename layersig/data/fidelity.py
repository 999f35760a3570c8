"""The parts of a conversation that a chat template changes or drops."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from layersig.data.conversation import Message
from layersig.data.templates import Template

PARTS: Mapping[str, str] = {
    "system": "system messages",
    "user": "questions",
    "assistant": "answers",
    "tool": "results of tools",
}
"""What reports call the texts of each role."""


def altered(
    template: Template,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]],
    text: str,
    learnt: Collection[int],
) -> frozenset[str]:
    """The parts of a conversation that a rendered text does not hold as they were given, by what reports call them.

    White space around a part does not count. Answers that are not learnt may change: templates that cut the thoughts
    of earlier turns do the same when the model is used.

    Args:
        template: The template that rendered it.
        messages: Arranged messages.
        tools: Tools that the assistant may call.
        text: What was rendered.
        learnt: Places of the messages that are learnt.
    """
    found = set()
    if tools and not template.takes_tools:
        found.add("tools")
    after = 0
    for place, message in enumerate(messages):
        if message.role == "assistant" and place not in learnt:
            continue
        if message.calls and template.call_style is None:
            found.add("tool calls")
        if message.reasoning and (template.reasoning_key is None or message.reasoning.strip() not in text):
            found.add("reasoning")
        # A system message may be rendered anywhere, for instance before the last question.
        start = 0 if message.role == "system" else after
        ends = [at + len(form) for form in _forms(message) if (at := text.find(form, start)) >= 0]
        if not ends:
            found.add(PARTS[message.role])
        elif message.role != "system":
            after = min(ends)
    return frozenset(found)


def _forms(message: Message) -> list[str]:
    """How a text may stand in what is rendered: results of tools are often put into JSON."""
    content = message.content.strip()
    if message.role != "tool":
        return [content]
    return [content, *(json.dumps(content, ensure_ascii=ascii)[1:-1] for ascii in (False, True))]
