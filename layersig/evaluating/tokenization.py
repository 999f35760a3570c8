"""Texts and chats as a model's tokens, as lm-eval's `hf` makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import cast

from jinja2 import TemplateError
from lm_eval.models.utils import has_bos_prefix
from transformers import PreTrainedTokenizerBase

from layersig.data.chat import ChatFormat
from layersig.errors import UserError, one_line


class Tokenization:
    """Token ids of texts, and the texts of chats.

    Args:
        tokenizer: The model's tokenizer.
        add_bos_token: Whether to put a BOS token first. None: the tokenizer's habit.
        chat_template: `auto`, `plain`, or the text of a template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, add_bos_token: bool | None, chat_template: str) -> None:
        self.tokenizer = tokenizer
        self._add_bos_token = add_bos_token
        self._chat_template = chat_template
        self._encoded: dict[str, list[int]] = {}

    @property
    def prefix_token_id(self) -> int:
        """What stands for an empty context: BOS, or EOS for tokenizers without."""
        bos = self.tokenizer.bos_token_id
        return cast(int, self.tokenizer.eos_token_id if bos is None else bos)

    def encode(self, text: str, add_special_tokens: bool | None = None) -> list[int]:
        """Token ids of a text; unless the caller says otherwise, special tokens are put as `hf` puts them."""
        if add_special_tokens is None:
            if text in self._encoded:
                return self._encoded[text]
            add_special_tokens = self._special_tokens(text)
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return cast(list[int], self.tokenizer.encode(text, **options))

    def _special_tokens(self, text: str) -> bool | None:
        if has_bos_prefix(text, self.tokenizer.decode(self.prefix_token_id)):
            return False
        return self._add_bos_token

    @contextmanager
    def encoded_ahead(self, texts: set[str]) -> Iterator[None]:
        """Within this context `encode` looks these texts up: all at once, a fast tokenizer uses every core."""
        for special in (None, True, False):
            chosen = sorted(text for text in texts if self._special_tokens(text) is special)
            if chosen:
                options = {} if special is None else {"add_special_tokens": special}
                self._encoded.update(zip(chosen, self.tokenizer(chosen, **options)["input_ids"], strict=True))
        try:
            yield
        finally:
            self._encoded.clear()

    def chat_text(
        self, messages: list[dict[str, str]], add_generation_prompt: bool, without_system: Callable[[], None]
    ) -> str:
        """The text of messages up to where the assistant is to write; or, without that, to continue the last one.

        Args:
            messages: Their roles and contents.
            add_generation_prompt: Whether the assistant is to write a message of its own.
            without_system: Called when the template refuses system messages, and they are left out.

        Raises:
            UserError: The template cannot render them.
        """
        try:
            return self._rendered(messages, add_generation_prompt)
        except TemplateError as error:
            spoken = [message for message in messages if message["role"] != "system"]
            if len(spoken) == len(messages):
                raise UserError(f"chat template: it cannot render this task's messages ({one_line(error)})") from error
            without_system()
            return self._rendered(spoken, add_generation_prompt)

    def _rendered(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        try:
            rendered: str = self.tokenizer.apply_chat_template(
                messages,
                chat_template=self._chat.template.text,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except TemplateError:
            raise
        except Exception as error:  # what a template computes may fail in any way
            raise UserError(f"chat template: it cannot render this task's messages ({one_line(error)})") from error
        return rendered

    @property
    def turn_end(self) -> int | None:
        """The token that ends a turn, where the chat template has one that can be used."""
        try:
            return self._chat.turn_end
        except UserError:  # a task that asks in chats has met it before
            return None

    @cached_property
    def _chat(self) -> ChatFormat:
        return ChatFormat(self.tokenizer, self._chat_template)
