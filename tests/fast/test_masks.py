"""Masks of token trees, against a walk from every token to its root."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layersig.fast.masks import ancestors, key_depths
from layersig.fast.sharing import Row, ScoredSequence, joined, plan

TOKENS = st.lists(st.integers(0, 1), min_size=1, max_size=9)


def rows_of(requests: list[list[int]]) -> list[Row]:
    """Trees of requests, some of them two in a row."""
    families = plan([ScoredSequence(tuple(each), (0,)) for each in requests], 1e-3)
    rows = [row for family in families for row in family.rows]
    return [joined(rows[start : start + 2]) for start in range(0, len(rows), 2)]


def walked(rows: list[Row], width: int, behind: int) -> torch.Tensor:
    allowed = torch.zeros(len(rows), width, behind + width, dtype=torch.bool)
    allowed[:, :, :behind] = True
    for number, row in enumerate(rows):
        for token in range(width):
            allowed[number, token, behind + token] = True
            at = token if token < len(row) else -1
            while at >= 0:
                allowed[number, token, behind + at] = True
                run = next(each for each in row.segments if each.start <= at < each.stop)
                at = at - 1 if at > run.start else run.parent
    return allowed


@settings(max_examples=60)
@given(st.lists(TOKENS, min_size=1, max_size=10), st.integers(0, 2), st.integers(0, 2))
def test_tokens_see_their_ancestors(requests: list[list[int]], behind: int, padding: int) -> None:
    rows = rows_of(requests)
    width = max(map(len, rows)) + padding
    assert torch.equal(ancestors(rows, width, behind, torch.device("cpu")), walked(rows, width, behind))


def test_they_are_made_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied there grows with the runs of tokens, not with pairs of tokens."""
    device, copied = torch.device("meta"), []
    move = torch.Tensor.to

    def watched(tensor: torch.Tensor, *args: object, **more: object) -> torch.Tensor:
        copied.append(tensor.numel() * (tensor.device.type == "cpu"))
        return move(tensor, *args, **more)

    monkeypatch.setattr(torch.Tensor, "to", watched)
    rows = rows_of([[0] * 400 + [choice] * 100 for choice in range(2)])
    found = ancestors(rows, 700, 50, device)
    assert (found.shape, found.device) == ((1, 700, 750), device)
    assert sum(copied) < 1000
    assert key_depths(torch.zeros(1, 700, dtype=torch.long, device=device), 50).device == device
