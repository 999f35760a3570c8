"""What the fields of rows mean, by their names.

Names are compared without case, spaces, hyphens and underscores: `isCorrect` is `is_correct`. A name that is in no
list and matches no pattern has no known meaning, and the user hears of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum


class Meaning(StrEnum):
    """What a field is for; the value is what reports call it."""

    TURNS = "turns"
    PROMPT = "prompt"
    RESPONSE = "response"
    SYSTEM = "system message"
    CONTEXT = "context"
    HISTORY = "earlier turns"
    REASONING = "reasoning"
    CALLS = "tool calls"
    TOOLS = "tools"
    KEEP = "mark of what to learn"
    """Where it is false, the row or turn is not learnt."""
    DROP = "mark of what not to learn"
    """Where it is true, the row or turn is not learnt."""
    REJECTED = "rejected response"
    GRADE = "grade"
    NEEDED = "part of the question"
    """Something that the question cannot be understood without, and that has no place in a conversation of texts."""
    REFUSED = "unsupported mask"
    """Says what is to be learnt in a way that is not supported."""
    RECORD = "record"
    """Of identity, origin or statistics; it changes nothing that is learnt."""


WORDS: Mapping[Meaning, tuple[str, ...]] = {
    Meaning.TURNS: ("messages", "conversations", "conversation", "dialogue", "dialog", "chat"),
    Meaning.PROMPT: (
        *("instruction", "prompt", "question", "query", "problem", "user_prompt", "user_input", "user_message"),
        *("user", "human", "input"),
    ),
    Meaning.RESPONSE: (
        *("output", "response", "completion", "answer", "chosen", "solution", "generated_solution", "generation"),
        *("attempt", "assistant", "assistant_response", "model_response", "gpt", "target", "reply"),
    ),
    Meaning.SYSTEM: ("system", "system_prompt", "system_message", "system_instruction", "developer"),
    Meaning.CONTEXT: ("input", "context", "passage", "document", "background", "contexts", "documents"),
    Meaning.HISTORY: ("history",),
    Meaning.REASONING: (
        *("reasoning_content", "reasoning", "thinking", "thoughts", "thought", "rationale", "cot", "complex_cot"),
        *("chain_of_thought", "thinking_trajectory", "thinking_trajectories", "reasoning_trace", "think"),
    ),
    Meaning.CALLS: ("tool_calls", "function_call", "function_calls", "answers"),
    Meaning.TOOLS: ("tools", "functions", "available_tools"),
    Meaning.KEEP: (
        *("train", "trained", "trainable", "training", "weight", "loss", "loss_mask", "loss_weight", "sample_weight"),
        *("label", "kto_tag", "kto_label", "is_chosen", "is_preferred", "preferred", "desirable", "is_desirable"),
        *("is_correct", "correct", "accepted", "is_accepted", "good", "is_good", "valid", "is_valid", "verified"),
        *("passed", "thumbs_up", "train_on_turn", "chosen", "preference", "feedback", "quality", "verdict"),
    ),
    Meaning.DROP: (
        *("is_rejected", "undesirable", "is_undesirable", "unwanted", "negative", "is_negative", "bad", "is_bad"),
        *("incorrect", "is_incorrect", "wrong", "is_wrong", "masked", "skip", "ignore", "exclude", "excluded"),
        *("deleted", "thumbs_down", "rejected"),
    ),
    Meaning.REJECTED: (
        *("rejected", "rejected_response", "rejected_responses", "rejected_output", "rejected_answer"),
        *("rejected_messages", "negative", "negative_response", "bad", "bad_response", "dispreferred"),
    ),
    Meaning.GRADE: (
        *("score", "scores", "rating", "ratings", "grade", "grades", "reward", "rewards", "quality", "helpfulness"),
        *("honesty", "correctness", "coherence", "complexity", "verbosity", "truthfulness", "harmlessness"),
        *("preference", "rank", "upvotes", "votes"),
    ),
    Meaning.NEEDED: (
        *("choices", "options", "image", "images", "audio", "audios", "video", "videos", "multi_modal_data"),
        *("file", "files", "attachments"),
    ),
    Meaning.REFUSED: ("mask", "train_detail", "train_details", "loss_masks", "token_weights", "labels", "input_ids"),
    Meaning.RECORD: (
        *("id", "idx", "index", "uid", "uuid", "hash", "sha", "sha256", "source", "sources", "dataset", "origin"),
        *("dataset_name", "data_source", "category", "categories", "subcategory", "split", "subset", "config"),
        *("lang", "language", "license", "licence", "model", "model_name", "author", "annotator", "generator"),
        *("type", "task_type", "task_category", "tag", "tags", "topic", "topics", "domain", "subject"),
        *("level", "difficulty", "meta", "metadata", "extra", "extra_info", "info", "timestamp", "date", "time"),
        *("created", "updated", "version", "url", "link", "turn", "turns", "round", "rounds", "tree", "tokens"),
        *("length", "original_question", "original_prompt", "original_instruction", "skip_prompt_formatting"),
        *("custom_instruction", "views", "avatar_url", "expected_answer", "reference_answer", "ground_truth"),
        *("gold", "final_answer", "seed", "redacted", "name"),
    ),
}

_STRICT = (
    *("train", "trained", "trainable", "training", "weight", "loss", "loss_mask", "loss_weight", "sample_weight"),
    *("label", "kto_tag", "kto_label", "train_on_turn"),
)
_DOUBTFUL = ("label", "correct", "incorrect", "wrong")
_CHOSEN = ("chosen", "chosen_response", "chosen_output", "chosen_answer", "chosen_messages", "preferred_response")
_PATTERNS: Mapping[Meaning, re.Pattern[str]] = {
    Meaning.GRADE: re.compile(r"(^|_)(score|rating|reward|grade|logps?|rank)(_|$)"),
    Meaning.RECORD: re.compile(
        r"_(id|ids|hash|url|uri|at|count|tokens|length|len|lang|language|source|model|type|version|split|date|index)$"
        r"|^(num|n|count|meta|metadata|dataset|annotator)_"
    ),
}


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


_BY_NAME: dict[str, tuple[Meaning, ...]] = {}
for _meaning, _words in WORDS.items():
    for _word in _words:
        _BY_NAME[_key(_word)] = (*_BY_NAME.get(_key(_word), ()), _meaning)
_PLACES = {(meaning, _key(word)): place for meaning, words in WORDS.items() for place, word in enumerate(words)}
_STRICT_KEYS = frozenset(map(_key, _STRICT))
_DOUBTFUL_KEYS = frozenset(map(_key, _DOUBTFUL))
_CHOSEN_KEYS = frozenset(map(_key, _CHOSEN))


def meanings(name: str) -> tuple[Meaning, ...]:
    """What a field of that name may be for, by its name alone; several where its value must decide, none if unknown."""
    if known := _BY_NAME.get(_key(name)):
        return known
    snake = re.sub(r"[\s\-.]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower()
    return tuple(meaning for meaning, pattern in _PATTERNS.items() if pattern.search(snake))[:1]


def precedence(meaning: Meaning, name: str) -> int:
    """Place of a name among those of its meaning: where one field is needed, the first goes before."""
    return _PLACES.get((meaning, _key(name)), len(_PLACES))


def is_strict_mark(name: str) -> bool:
    """Whether a field can only mark what to learn, so that a value which is neither yes nor no is an error."""
    return _key(name) in _STRICT_KEYS


def is_doubtful_mark(name: str) -> bool:
    """Whether a field that marks what to learn may as well hold a class, or the answer that is right or wrong."""
    return _key(name) in _DOUBTFUL_KEYS


def is_chosen(name: str) -> bool:
    """Whether a field holds the response of a pair that is preferred."""
    return _key(name) in _CHOSEN_KEYS
