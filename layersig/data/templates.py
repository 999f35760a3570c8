"""Chat templates: which one holds for a model, and how it renders messages.

A template is a Jinja text that a model brings (`tokenizer.chat_template`), a file of the user, or `plain`. It is code
from elsewhere; the tokenizer runs it in a sandbox.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import TemplateError

from layersig.data.conversation import Message
from layersig.errors import UserError

_PLAIN = (
    "{% for message in messages %}"
    "{{ {'system': 'System', 'user': 'User', 'assistant': 'Assistant'}[message['role']] }}: {{ message['content'] }}"
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


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template that is known to work with a tokenizer.

    Attributes:
        name: `model` (the tokenizer's own), `plain` or `file`.
        text: Jinja text as it is rendered; a date in it is fixed.
        sha256: Digest of the text as it was given.
        takes_system: False when the template refuses or leaves out system messages; they are then put in front of the
            first user turn.
    """

    name: Literal["model", "plain", "file"]
    text: str
    sha256: str
    takes_system: bool

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

    def render(self, tokenizer: Any, messages: Sequence[Message], *, prompt: bool = False) -> str:
        """The text of arranged messages; with `prompt`, up to where the assistant is to write.

        Raises:
            UserError: The template cannot render them.
        """
        try:
            return _render(tokenizer, self.text, messages, prompt)
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
        rendered = _render(tokenizer, fixed, exchange, prompt=False)
    except TemplateError as error:
        raise UserError(
            f"chat template ({name}): it cannot render one user and one assistant turn: {error}. "
            "Mend it, or set model.chat_template to `plain` or to another `file:`."
        ) from error
    if not all(message.content in rendered for message in exchange):
        raise UserError(
            f"chat template ({name}): it leaves out the text of user or assistant messages. It is given `messages`, "
            "each with `role` and `content`; mend it, or set model.chat_template to `plain`."
        )
    return Template(name, fixed, hashlib.sha256(text.encode()).hexdigest(), _takes_system(tokenizer, fixed, exchange))


def _plain_for(tokenizer: Any) -> str:
    bos = tokenizer.bos_token_id
    starts_with_bos = bos is not None and tokenizer("a").input_ids[0] == bos
    return "{{ bos_token }}" + _PLAIN if starts_with_bos else _PLAIN


def _takes_system(tokenizer: Any, text: str, exchange: Sequence[Message]) -> bool:
    system = Message("system", f"{_PROBE}-system")
    try:
        return system.content in _render(tokenizer, text, (system, *exchange), prompt=False)
    except TemplateError:
        return False


def _render(tokenizer: Any, text: str, messages: Sequence[Message], prompt: bool) -> str:
    try:
        rendered: str = tokenizer.apply_chat_template(
            [message._asdict() for message in messages],
            chat_template=text,
            add_generation_prompt=prompt,
            tokenize=False,
        )
    except TemplateError:
        raise
    except Exception as error:  # what a template computes may fail in any way
        raise TemplateError(f"{type(error).__name__}: {error}") from error
    return rendered
