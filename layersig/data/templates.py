"""Chat templates: which one applies to a model, and how it renders messages.

A template is a Jinja text that a model brings (`tokenizer.chat_template`), a file of the user, or `plain`. It is code
from elsewhere; the tokenizer runs it in a sandbox.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jinja2 import TemplateError

from layersig.data.conversation import Message
from layersig.errors import UserError

_PLAIN = (
    "{% for message in messages %}"
    "{{ {'system': 'System', 'user': 'User', 'assistant': 'Assistant', 'tool': 'Tool'}[message['role']] }}: "
    "{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)

# Llama 3 and others print today's date, which would make the tokens depend on the day. 26 Jul 2024 is the date that
# Llama 3.1's own template falls back to.
_FIXED_DATE = (
    "{% macro strftime_now(format) %}"
    "{{ {'%Y-%m-%d': '2024-07-26', '%B %d, %Y': 'July 26, 2024', '%Y': '2024'}.get(format, '26 Jul 2024') }}"
    "{% endmacro +%}"
)

_PROBE = "probe-of-the-template"
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "thought")

Tools = Sequence[Mapping[str, Any]]


class CallStyle(NamedTuple):
    """How a template wants a turn that calls tools.

    Attributes:
        arguments_as_text: Arguments are JSON text, not an object.
        without_content: A turn that says nothing has no content, not an empty text.
    """

    arguments_as_text: bool
    without_content: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template that is known to work with a tokenizer.

    Attributes:
        name: `model` (the tokenizer's own), `plain` or `file`.
        text: Jinja text as it is rendered; a date in it is fixed.
        sha256: Digest of the text as it was given.
        takes_system: False when the template refuses or leaves out system messages; they are then put in front of the
            first user turn.
        reasoning_key: Key of a turn in which the template expects reasoning; None when it renders none.
        call_style: How it wants calls of tools; None when it renders none.
        takes_tools: Whether it renders the tools that may be called.
    """

    name: Literal["model", "plain", "file"]
    text: str
    sha256: str
    takes_system: bool
    reasoning_key: str | None = None
    call_style: CallStyle | None = None
    takes_tools: bool = False

    @property
    def marks_assistant(self) -> bool:
        """True when the template itself says what the assistant writes, by `generation` blocks."""
        return "endgeneration" in self.text

    def arrange(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages as the template takes them: a refused system message opens the first user turn."""
        if self.takes_system or messages[0].role != "system":
            return tuple(messages)
        system, user, *rest = messages
        return (Message("user", f"{system.content}\n\n{user.content}"), *rest)

    def turns(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The messages under the keys that the template reads."""
        return [_turn(message, self.reasoning_key, self.call_style) for message in messages]

    def render(self, tokenizer: Any, messages: Sequence[Message], *, prompt: bool = False, tools: Tools = ()) -> str:
        """The text of arranged messages; with `prompt`, up to where the assistant is to write.

        Args:
            tokenizer: The tokenizer.
            messages: Arranged messages.
            prompt: Open the assistant's turn.
            tools: Tools that it may call.

        Raises:
            UserError: The template cannot render them.
        """
        try:
            return _render(tokenizer, self.text, self.turns(messages), prompt=prompt, tools=tools)
        except TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise UserError(
                f"chat template ({self.name}): it cannot render a conversation of {roles}: {error}. "
                "Set model.chat_template to `plain` or to a `file:` that can."
            ) from error


def resolve_template(tokenizer: Any, choice: str) -> Template:
    """The template for `choice`: `auto` (the model's own, else `plain`), `plain`, or the text of a Jinja file.

    Raises:
        UserError: The template is no valid Jinja, refuses a plain exchange, or leaves out what is said.
    """
    name: Literal["model", "plain", "file"] = "file"
    text = choice
    if choice == "auto" and tokenizer.chat_template:
        name, text = "model", tokenizer.get_chat_template()
    elif choice in ("auto", "plain"):
        name, text = "plain", _plain_for(tokenizer)
    fixed = _FIXED_DATE + text if "strftime_now" in text else text
    exchange = (Message("user", f"{_PROBE}-user"), Message("assistant", f"{_PROBE}-assistant"))
    try:
        rendered = _render(tokenizer, fixed, [_turn(message) for message in exchange])
    except TemplateError as error:
        raise UserError(
            f"chat template ({name}): it cannot render one user and one assistant turn: {error}. "
            "Correct it, or set model.chat_template to `plain` or to another `file:`."
        ) from error
    if not all(message.content in rendered for message in exchange):
        raise UserError(
            f"chat template ({name}): it leaves out the text of user or assistant messages. It is given `messages`, "
            "each with `role` and `content`; correct it, or set model.chat_template to `plain`."
        )
    probe = _Probe(tokenizer, fixed)
    return Template(
        name,
        fixed,
        hashlib.sha256(text.encode()).hexdigest(),
        takes_system=probe.takes_system(),
        reasoning_key=probe.reasoning_key(),
        call_style=probe.call_style(),
        takes_tools=probe.takes_tools(),
    )


def _plain_for(tokenizer: Any) -> str:
    bos = tokenizer.bos_token_id
    starts_with_bos = bos is not None and tokenizer("a").input_ids[0] == bos
    return "{{ bos_token }}" + _PLAIN if starts_with_bos else _PLAIN


class _Probe:
    """What a template renders of parts that not every template knows, found by rendering them."""

    _ASKED = Message("user", f"{_PROBE}-user")
    _ANSWER = Message("assistant", f"{_PROBE}-assistant")

    def __init__(self, tokenizer: Any, text: str) -> None:
        self._tokenizer = tokenizer
        self._text = text

    def takes_system(self) -> bool:
        system = Message("system", f"{_PROBE}-system")
        return self._shows([_turn(message) for message in (system, self._ASKED, self._ANSWER)], system.content)

    def reasoning_key(self) -> str | None:
        thoughtful = self._ANSWER._replace(reasoning=f"{_PROBE}-reasoning")
        return next(
            (
                key
                for key in _REASONING_KEYS
                if self._shows([_turn(self._ASKED), _turn(thoughtful, key)], thoughtful.reasoning)
            ),
            None,
        )

    def call_style(self) -> CallStyle | None:
        call = {"id": "call00001", "name": f"{_PROBE}-tool", "arguments": {"key": f"{_PROBE}-argument"}}
        calling = Message("assistant", "", calls=(call,))
        for style in (CallStyle(text, null) for text in (False, True) for null in (False, True)):
            turns = [_turn(self._ASKED), _turn(calling, call_style=style)]
            if self._shows(turns, f"{_PROBE}-tool", f"{_PROBE}-argument"):
                return style
        return None

    def takes_tools(self) -> bool:
        function = {
            "name": f"{_PROBE}-tool",
            "description": "A probe.",
            "parameters": {"type": "object", "properties": {"key": {"type": "string", "description": "A key."}}},
        }
        turns = [_turn(self._ASKED), _turn(self._ANSWER)]
        return self._shows(turns, f"{_PROBE}-tool", tools=[{"type": "function", "function": function}])

    def _shows(self, turns: Sequence[Mapping[str, Any]], *parts: str, tools: Tools = ()) -> bool:
        try:
            rendered = _render(self._tokenizer, self._text, turns, tools=tools)
        except TemplateError:
            return False
        return all(part in rendered for part in parts)


def _turn(message: Message, reasoning_key: str | None = None, call_style: CallStyle | None = None) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content, **message.tags}
    if message.reasoning and reasoning_key is not None:
        turn[reasoning_key] = message.reasoning
    if message.calls and call_style is not None:
        if call_style.without_content and not message.content:
            turn["content"] = None
        turn["tool_calls"] = [_call(call, call_style) for call in message.calls]
    return turn


def _call(call: Mapping[str, Any], style: CallStyle) -> dict[str, Any]:
    arguments = call["arguments"]
    if style.arguments_as_text:
        arguments = json.dumps(arguments, ensure_ascii=False)
    identity = {"id": call["id"]} if "id" in call else {}
    return {**identity, "type": "function", "function": {"name": call["name"], "arguments": arguments}}


def _render(
    tokenizer: Any, text: str, turns: Sequence[Mapping[str, Any]], *, prompt: bool = False, tools: Tools = ()
) -> str:
    try:
        rendered: str = tokenizer.apply_chat_template(
            list(turns),
            chat_template=text,
            add_generation_prompt=prompt,
            tokenize=False,
            **({"tools": list(tools)} if tools else {}),
        )
    except TemplateError:
        raise
    except Exception as error:  # what a template computes may fail in any way
        raise TemplateError(f"{type(error).__name__}: {error}") from error
    return rendered
