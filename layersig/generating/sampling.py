"""How the next token is chosen: the most likely one, or a draw from a stream that belongs to one response alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from layersig.errors import StageFailed
from layersig.fast.nucleus import nucleus


@dataclass(frozen=True, slots=True)
class Sampling:
    """The distribution that tokens are drawn from, in the order temperature, top-k, top-p, as in transformers.

    A model's own `generation_config` is never consulted: what is not set here does not happen.

    Attributes:
        temperature: Logits are divided by it; 0 takes the most likely token, the first of equals.
        top_p: Keep the fewest tokens whose probabilities reach this sum (Holtzman et al., arXiv 1904.09751).
        top_k: Keep this many tokens, and those equal to the last of them; all when None.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0


GREEDY = Sampling()


def probabilities(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The distribution that is drawn from.

    Args:
        logits: Shape [rows, vocabulary].
        sampling: With a temperature above 0.

    Returns:
        Same shape, float64 where the device has it; each row sums to 1.
    """
    scaled = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scaled.shape[-1]:
        least = scaled.topk(sampling.top_k).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    found = scaled.softmax(-1)
    if sampling.top_p < 1:
        found = nucleus(found, sampling.top_p)
    return found / found.sum(-1, keepdim=True)


class Sampler:
    """Chooses tokens for many responses, each from its own stream, whatever batch it is in.

    One uniform number is spent on a token and turned into a choice by the inverse of the cumulative distribution, so a
    response depends on its prompt, its seed and the model's logits alone. Another cut into batches changes logits by
    rounding; a token then changes only where a draw falls within that rounding of a border.

    Args:
        sampling: What to draw from.
        seeds: The seed of each response.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int] = ()) -> None:
        self._sampling = sampling
        self._seeds = seeds
        self._streams = [np.random.default_rng(seed) for seed in seeds]

    def begin(self, responses: Sequence[int]) -> None:
        """Let the streams of these responses begin again."""
        if not self._sampling.greedy:
            for index in responses:
                self._streams[index] = np.random.default_rng(self._seeds[index])

    def skip(self, response: int, tokens: int) -> None:
        """Let the stream of a response be as after the draws of so many tokens."""
        if not self._sampling.greedy:
            self._streams[response].random(tokens)

    def choose(self, logits: torch.Tensor, responses: Sequence[int]) -> list[int]:
        """The next token of each response.

        Args:
            logits: Shape [len(responses), vocabulary].
            responses: Their indices in `seeds`.

        Raises:
            StageFailed: A logit is NaN.
        """
        if logits.isnan().any():
            raise StageFailed("the model gives NaN logits; its weights or its adapter are damaged")
        if self._sampling.greedy:
            return cast(list[int], logits.argmax(-1).tolist())
        cumulative = probabilities(logits, self._sampling).cumsum(-1)
        draws = torch.tensor([[self._streams[index].random()] for index in responses], dtype=torch.float64)
        # Below 1 in the precision at hand: the last token with any probability is the last that can be reached.
        draws = draws.clamp(max=1 - torch.finfo(cumulative.dtype).eps).to(cumulative.dtype)
        reached = draws.to(cumulative.device) * cumulative[:, -1:]
        return cast(list[int], torch.searchsorted(cumulative, reached, right=True)[:, 0].tolist())
