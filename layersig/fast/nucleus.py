"""The nucleus of a distribution: the fewest tokens whose probabilities reach a sum (Holtzman et al., arXiv 1904.09751).

A vocabulary has a hundred thousand tokens and a nucleus some dozens, so only the most likely ones are put in order. The
least probability among those that are kept then tells for every token whether it belongs to them; of tokens that are
equally likely the first ones do, as in a stable sort.

Plain twin: `by_sorting`, which is also used where the most likely tokens do not reach the sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_LIKELY = 1024
"""Tokens that are put in order."""


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The distribution with zeros outside of its nucleus.

    Args:
        probabilities: Shape [rows, vocabulary].
        top_p: The sum, above 0 and below 1.
    """
    if probabilities.shape[-1] <= MOST_LIKELY:
        return by_sorting(probabilities, top_p)
    ordered = probabilities.topk(MOST_LIKELY).values
    before = ordered.cumsum(-1) - ordered
    inside = before < top_p
    if inside[:, -1].any():  # perhaps the next one belongs to it too
        return by_sorting(probabilities, top_p)
    count = inside.sum(-1, keepdim=True)
    least = ordered.gather(-1, count - 1)
    equal = probabilities == least
    wanted = count - (ordered > least).sum(-1, keepdim=True)
    return probabilities.masked_fill(~((probabilities > least) | (equal & (equal.cumsum(-1) <= wanted))), 0.0)


def by_sorting(probabilities: Tensor, top_p: float) -> Tensor:
    """The same, with all tokens in order."""
    ordered, order = probabilities.sort(descending=True, stable=True)
    enough_before = ordered.cumsum(-1) - ordered >= top_p
    return torch.zeros_like(probabilities).scatter(-1, order, ordered.masked_fill(enough_before, 0.0))
