"""The nucleus without a full sort, against the one with it."""

from __future__ import annotations

import pytest
import torch

from layersig.fast import nucleus as module
from layersig.fast.nucleus import MOST_LIKELY, by_sorting, nucleus

WIDE = 3 * MOST_LIKELY


def distributions(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, WIDE, generator=generator, dtype=torch.float64)
    if kind == "peaked":
        return (4 * logits).softmax(-1)
    if kind == "ties":  # few values, so that the border runs through tokens that are equally likely
        return (4 * logits.round()).softmax(-1)
    if kind == "cut":  # as top-k leaves it
        return (4 * logits).masked_fill(logits < 2.5, -torch.inf).softmax(-1)
    return (0.01 * logits).softmax(-1)


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("kind", ["peaked", "ties", "cut", "flat"])
def test_it_is_that_of_a_stable_sort(kind: str, top_p: float) -> None:
    given = distributions(kind)
    assert torch.equal(nucleus(given, top_p), by_sorting(given, top_p))


def test_what_the_most_likely_tokens_reach_is_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "by_sorting", lambda *_: pytest.fail("sorted"))
    for kind in ("peaked", "ties", "cut"):
        found = nucleus(distributions(kind), 0.9)
        kept = found.sum(-1)
        assert ((kept >= 0.9) & (kept - found.masked_fill(found == 0, 1).amin(-1) < 0.9)).all()
