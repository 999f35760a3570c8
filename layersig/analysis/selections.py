"""Selections of the layers with the highest scores, and what equal scores contribute to them."""

from __future__ import annotations

import numpy as np
from scipy import stats

from layersig.analysis.results import BoolArray, FloatArray, IntArray


def descending_ranks(scores: FloatArray) -> IntArray:
    """Rank of every element along the last axis, 0 for the highest score; ties keep their order of index."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(scores.shape[-1]), scores.shape), axis=-1)
    return ranks.astype(np.int64)


def top_k(scores: FloatArray, k: int) -> BoolArray:
    """Mask of the `k` highest scores along the last axis; ties are broken by index."""
    return np.asarray(descending_ranks(scores) < k)


def random_top_k(scores: FloatArray, k: int, rng: np.random.Generator) -> BoolArray:
    """Mask of the `k` highest of a score vector, shape (N,); ties are broken at random."""
    order = np.lexsort((rng.random(scores.size), -scores))
    mask = np.zeros(scores.size, dtype=np.bool_)
    mask[order[:k]] = True
    return mask


def membership(scores: FloatArray, k: int | IntArray) -> FloatArray:
    """Probability that an element is among the `k` highest of its ranking when ties are broken at random.

    Args:
        scores: Shape (..., N).
        k: Size of the set; an array must broadcast with `scores`.

    Returns:
        Shape (..., N): 1 above the boundary, 0 below it, and the same share for all elements tied across it.
    """
    above = stats.rankdata(-scores, method="min", axis=-1) - 1
    tied = stats.rankdata(-scores, method="max", axis=-1) - above
    return np.asarray(np.clip((k - above) / tied, 0.0, 1.0), dtype=np.float64)
