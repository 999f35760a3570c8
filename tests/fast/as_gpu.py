"""The fast paths of a GPU, on a CPU."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from layersig.fast import profile, varlen


@pytest.fixture
def as_gpu(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Makes every choice by device that of a GPU, with small pieces; gives the windows that the kernel was asked for.

    The kernel itself is replaced by `plain_varlen`, which computes the same by plain products.
    """
    windows: list[tuple[int, int]] = []

    def kernel(*args: Tensor | int, scale: float, window_size: tuple[int, int], enable_gqa: bool = False) -> Tensor:
        windows.append(window_size)
        return plain_varlen(*args, scale=scale, window_size=window_size, enable_gqa=enable_gqa)

    gpu = dataclasses.replace(profile.GPU, piece_targets=7, chunk_elements=1000, fixed_tokens=64)
    monkeypatch.setattr(profile, "profile_of", lambda device: gpu)
    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setattr(varlen, "runs", lambda device, dtype: True)
    return windows


def plain_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool = False,
) -> Tensor:
    """What `torch.nn.attention.varlen.varlen_attn` computes, with its demands on the arguments."""
    tokens, heads, _ = query.shape
    assert key.shape[:2] == value.shape[:2]
    assert key.shape[0] == tokens
    assert enable_gqa == (heads != key.shape[1])
    assert heads % key.shape[1] == 0
    assert all(each.stride(-1) == 1 for each in (query, key, value))
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    bounds = cu_seq_q.tolist()
    assert cu_seq_k.tolist() == bounds
    assert (bounds[0], bounds[-1]) == (0, tokens)
    assert max_q == max_k == max(end - start for start, end in pairwise(bounds))
    before, behind = window_size
    assert behind == 0
    found = []
    for start, end in pairwise(bounds):
        q, k, v = (each[start:end].transpose(0, 1) for each in (query, key, value))
        k, v = (each.repeat_interleave(heads // each.shape[0], 0) for each in (k, v))
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)
        hidden = (distance < 0) | ((distance > before) if before >= 0 else torch.zeros_like(distance, dtype=torch.bool))
        scores = (q @ k.mT * scale).masked_fill(hidden, -torch.inf)
        found.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(found)
