"""Repetition inside one response: Rep-n, intra-response self-BLEU-4 and length, whatever the response is worth.

Both measures are those of "On the Limits of Layer Pruning for Generative Reasoning in Large Language Models" (arXiv
2602.01997, section on degeneration). Deviations: words are runs of word characters, single Chinese or Japanese
characters or single other signs, and sentences end at `.`, `!`, `?` before white space, at their wide forms or at a
line break (the paper's code uses NLTK's tokenizers, whose data are a download); values are shares, not percent.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from layersig.probes.words import WORD

_WORD = re.compile(rf"{WORD}|[^\w\s]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_LONGEST = 4
_EPSILON = 0.1
"""What a count of no match counts for: NLTK's smoothing "method 1" (Chen and Cherry 2014)."""

Gram = tuple[str, ...]


def words(text: str) -> list[str]:
    """Lower-cased words and signs."""
    return _WORD.findall(text.lower())


def repetition(tokens: Sequence[str], n: int) -> float | None:
    """Rep-n: 1 - distinct n-grams / n-grams, in [0, 1); None for fewer than n words.

    Args:
        tokens: Words of one response.
        n: Words of an n-gram.
    """
    grams = _grams(tokens, n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def self_bleu(text: str) -> float | None:
    """Mean BLEU-4 of every sentence of a response against its other sentences, in [0, 1].

    BLEU as in Papineni et al. 2002 with the closest reference length; see `_EPSILON` for its smoothing. It is not
    Texygen's Self-BLEU, which compares responses with each other.

    Returns:
        None for fewer than two sentences of at least 4 words.
    """
    sentences = [tokens for part in _SENTENCE_END.split(text) if len(tokens := words(part)) >= _LONGEST]
    if len(sentences) < 2:
        return None
    counts = [[Counter(_grams(sentence, n)) for n in range(1, _LONGEST + 1)] for sentence in sentences]
    best = _two_best(counts)
    lengths = Counter(map(len, sentences))
    return math.fsum(
        _bleu(number, sentence, counts[number], best, lengths) for number, sentence in enumerate(sentences)
    ) / len(sentences)


def _grams(tokens: Sequence[str], n: int) -> list[Gram]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def _two_best(counts: Sequence[Sequence[Counter[Gram]]]) -> dict[Gram, tuple[int, int, int]]:
    """By n-gram: its largest count in a sentence, that sentence, and its largest count in another one."""
    best: dict[Gram, tuple[int, int, int]] = {}
    for number, of_sentence in enumerate(counts):
        for of_length in of_sentence:
            for gram, count in of_length.items():
                first, owner, second = best.get(gram, (0, -1, 0))
                best[gram] = (count, number, first) if count > first else (first, owner, max(second, count))
    return best


def _bleu(
    number: int,
    sentence: Sequence[str],
    counts: Sequence[Counter[Gram]],
    best: dict[Gram, tuple[int, int, int]],
    lengths: Counter[int],
) -> float:
    logs: list[float] = []
    for of_length in counts:
        matched = 0
        for gram, count in of_length.items():
            first, owner, second = best[gram]
            matched += min(count, second if owner == number else first)
        if not matched and not logs:
            return 0.0
        logs.append(math.log((matched or _EPSILON) / of_length.total()))
    others = lengths - Counter([len(sentence)])
    closest = min(others, key=lambda length: (abs(length - len(sentence)), length))
    penalty = min(0.0, 1 - closest / len(sentence))
    return math.exp(penalty + math.fsum(logs) / _LONGEST)


def degeneration(text: str) -> dict[str, float]:
    """Every measure of one response that is defined for it.

    Returns:
        `words`; `rep_2`, `rep_3`, `rep_4`, and their mean `rep` where all three are defined; `self_bleu`.
    """
    tokens = words(text)
    measured = {f"rep_{n}": repetition(tokens, n) for n in (2, 3, 4)}
    whole = [value for value in measured.values() if value is not None]
    measured["rep"] = math.fsum(whole) / len(whole) if len(whole) == len(measured) else None
    measured["self_bleu"] = self_bleu(text)
    return {"words": float(len(tokens)), **{name: value for name, value in measured.items() if value is not None}}
