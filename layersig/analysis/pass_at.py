"""How often at least one of several answers is right, from more answers than that."""

from __future__ import annotations

from math import comb


def pass_at(draws: int, right: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of `k` answers to an item is right.

    Args:
        draws: Answers drawn, independent of each other.
        right: Those that are right.
        k: Answers to choose from, at most `draws`.

    Raises:
        ValueError: `right` is above `draws`, or `k` is not between 1 and `draws`.

    Source:
        Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1.
    """
    if not 0 <= right <= draws or not 1 <= k <= draws:
        raise ValueError(f"{right} right of {draws} draws and k = {k}: 0 <= right <= draws and 1 <= k <= draws needed")
    return 1.0 - comb(draws - right, k) / comb(draws, k)
