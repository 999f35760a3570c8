"""Contamination of benchmarks: training conversations that share word n-grams with benchmark items.

Two conventions are in use, and the result serves both:
- GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C): an item is dirty when any of its 13-grams occurs in the
  training text. There N shrinks to as little as 8 for tasks of short items; here n is given, and items with fewer than
  n words are counted apart because they can never match.
- PaLM (Chowdhery et al. 2022, arXiv 2204.02311, section 8): an item is contaminated when at least 70 % of its 8-grams
  occur in the training text.

Deviations from both: words are runs of letters, digits and underscores, so punctuation separates instead of vanishing;
a Chinese or Japanese character is a word of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from layersig.probes.words import WORD

_WORD = re.compile(WORD)


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that shares an n-gram with the training text.

    Attributes:
        item: Id of the item.
        covered: Share of the item's distinct n-grams that occur in the training text, in (0, 1].
    """

    item: str
    covered: float


@dataclass(frozen=True, slots=True)
class TaskOverlap:
    """The overlap of one task.

    Attributes:
        task: Name of the task.
        n: Words in an n-gram.
        items: Items of the task.
        too_short: Items with fewer than n words, which cannot match.
        hits: Items with at least one n-gram in the training text, in the order of the items.
    """

    task: str
    n: int
    items: int
    too_short: int
    hits: tuple[Hit, ...]

    @property
    def share(self) -> float:
        """Hits over the items that could match; 0 when none could."""
        possible = self.items - self.too_short
        return len(self.hits) / possible if possible else 0.0

    def covered(self, least: float = 0.7) -> tuple[str, ...]:
        """Items of whose n-grams at least that share occurs in the training text (PaLM: 0.7 with n = 8)."""
        return tuple(hit.item for hit in self.hits if hit.covered >= least)


def normalised(text: str) -> str:
    """The lower-cased words of a text, one space between them; the form that n-grams are taken from."""
    return " ".join(_WORD.findall(text.lower()))


def ngram_overlap(
    training_texts: Iterable[str], items: Mapping[str, Sequence[tuple[str, str]]], n: int
) -> tuple[TaskOverlap, ...]:
    """Which benchmark items share an n-gram of words with a training text.

    Args:
        training_texts: One text a conversation, raw or `normalised`. N-grams do not run from one text into the next.
        items: (id, text) of every item, by task.
        n: Words in an n-gram: 13 after GPT-3, 8 after PaLM.

    Returns:
        One overlap a task, in the order of `items`.
    """
    grams = {task: [(item, set(_ngrams(text, n))) for item, text in pairs] for task, pairs in items.items()}
    sought = {gram for pairs in grams.values() for _, own in pairs for gram in own}
    found: set[tuple[str, ...]] = set()
    for text in training_texts:
        found.update(sought.intersection(_ngrams(text, n)))
    return tuple(
        TaskOverlap(
            task,
            n,
            len(pairs),
            sum(not own for _, own in pairs),
            tuple(Hit(item, len(own & found) / len(own)) for item, own in pairs if own & found),
        )
        for task, pairs in grams.items()
    )


def _ngrams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return zip(*(words[start:] for start in range(n)), strict=False)
