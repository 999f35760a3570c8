"""Prompts that are to be continued, and how they are cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from layersig.fast.sharing import SHORTEST_TRUNK, shared_length

_ROUND = 512
"""Prompts that share slots."""


class Prompt(NamedTuple):
    """What to continue.

    Attributes:
        tokens: Token ids, at least one.
        stops: Texts that end the generation; they may be part of what is returned.
        most: Largest number of tokens to write.
    """

    tokens: tuple[int, ...]
    stops: tuple[str, ...]
    most: int


class Completion(NamedTuple):
    """Token ids written for one prompt, with the one that ended it, if any did.

    Attributes:
        prompt: Index of the prompt.
        tokens: At least one.
        ended: Whether an end token or a stop string ended it; else it was cut at the largest number of tokens.
    """

    prompt: int
    tokens: list[int]
    ended: bool


def rounds(prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """As `batches`, with so many prompts each that slots can be filled again and again."""
    for run in _alike(prompts):
        for start in range(0, len(run), _ROUND):
            yield run[start : start + _ROUND]


def batches(prompts: Sequence[Prompt], batch_tokens: int) -> Iterator[list[int]]:
    """Prompts that begin alike together, then by length."""
    for run in _alike(prompts):
        batch: list[int] = []
        longest = 0
        for index in run:
            longest = max(longest, len(prompts[index].tokens) + prompts[index].most)
            if batch and (len(batch) + 1) * longest > batch_tokens:
                yield batch
                batch, longest = [], len(prompts[index].tokens) + prompts[index].most
            batch.append(index)
        if batch:
            yield batch


def _alike(prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """Prompts that begin alike, then those that begin like no other; the longest first."""
    order = sorted(range(len(prompts)), key=lambda index: prompts[index].tokens)
    runs: list[list[int]] = []
    for index in order:
        alike = runs and shared_length(prompts[runs[-1][-1]].tokens, prompts[index].tokens) >= SHORTEST_TRUNK
        if alike:
            runs[-1].append(index)
        else:
            runs.append([index])
    alone = [run[0] for run in runs if len(run) == 1]
    for run in [run for run in runs if len(run) > 1] + [alone]:
        yield sorted(run, key=lambda index: (-len(prompts[index].tokens) - prompts[index].most, index))
