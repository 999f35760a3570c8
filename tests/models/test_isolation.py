from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from layersig.models.isolation import isolated


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_draws_inside_hang_on_the_seed_alone() -> None:
    with isolated(5):
        first = _draw()
    _draw()
    with isolated(5):
        assert _draw() == first
    with isolated(6):
        assert all(a != b for a, b in zip(_draw(), first, strict=True))
    with isolated(2**40 + 5):  # torch's generator for the CPU sees the lower 32 bits alone
        assert all(a != b for a, b in zip(_draw()[:2], first, strict=False))
    assert len(set(first)) == 3


@pytest.mark.parametrize("fails", [False, True])
def test_global_generators_go_on_as_if_nothing_was_drawn(fails: bool) -> None:
    def seed() -> None:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)

    seed()
    expected = _draw()
    seed()
    try:
        with isolated(9):
            _draw()
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert _draw() == expected
