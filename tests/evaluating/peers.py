"""lm-eval's own `hf` model, and requests, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel, PreTrainedTokenizerBase

FEWSHOT = "Question: what is the colour of the sky on a clear day in the summer?\nAnswer: blue\n\n"
"""Longer than the shortest trunk, with one token a byte."""


def lm_eval_hf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Any) -> HFLM:
    """lm-eval's `hf` around a model in memory."""
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, **options)


def pairs(*arguments: tuple[str, str]) -> list[Instance]:
    """Requests for the log-likelihood of a continuation after a context."""
    return [_instance("loglikelihood", each) for each in arguments]


def documents(*texts: str) -> list[Instance]:
    """Requests for the log-likelihood of whole texts."""
    return [_instance("loglikelihood_rolling", (text,)) for text in texts]


def prompts(contexts: Sequence[str], **settings: Any) -> list[Instance]:
    """Requests to write on."""
    return [_instance("generate_until", (context, settings)) for context in contexts]


def _instance(kind: Any, arguments: tuple[Any, ...]) -> Instance:
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0, metadata=("task", 0, 1))
