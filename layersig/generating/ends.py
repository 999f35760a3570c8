"""Which tokens end what a model writes: one answer for tasks, conversations and self-generated responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase


def end_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, turn_end: int | None = None
) -> frozenset[int]:
    """Every token that is declared to end an answer.

    These are the `eos_token_id` of the model's `generation_config` (a number or a list), the tokenizer's end-of-text
    token, the `eos_token_id` of the model's configuration and of its text model, and the token that closes an
    assistant's turn in the chat template.

    An `eos_token_id` of a configuration counts only where the tokenizer knows it as a special token: a configuration
    that names none holds the default of its class, which is an ordinary word in another vocabulary. Where a model has
    no `generation_config.json`, transformers makes that of the configuration, and its token counts in any case.

    Args:
        model: The model, with or without an adapter; an adapter has no ends of its own.
        tokenizer: Its tokenizer.
        turn_end: `ChatFormat.turn_end`.

    Returns:
        Token ids; empty for a model that declares none and writes until it is cut.
    """
    special = set(tokenizer.all_special_ids)
    special |= {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    ends = {*_ids(getattr(model, "generation_config", None)), *_ids(tokenizer)}
    ends |= {token for config in (model.config, _text_config(model)) for token in _ids(config) if token in special}
    return frozenset(ends if turn_end is None else {*ends, turn_end})


def _text_config(model: PreTrainedModel) -> Any:
    return model.config.get_text_config(decoder=True)


def _ids(settings: object) -> Iterator[int]:
    """The ids in `eos_token_id`, which may be missing, one number, or several."""
    declared = getattr(settings, "eos_token_id", None)
    for token in declared if isinstance(declared, list | tuple) else (declared,):
        if token is not None:
            yield int(token)
