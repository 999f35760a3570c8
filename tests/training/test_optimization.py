from __future__ import annotations

import math

import pytest
import torch
from transformers import get_scheduler

from layersig.training.optimization import Optimization


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("ratio", "steps"), [(0.0, 7), (0.01, 40), (0.3, 11)])
def test_learning_rates_are_those_of_transformers(schedule, ratio, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, math.ceil(ratio * steps), steps)
    rule = Optimization("sgd", 0.3, schedule, ratio)
    for step in range(steps):
        assert rule.learning_rate_at(step, steps) == pytest.approx(theirs.get_last_lr()[0], abs=1e-15)
        optimizer.step()
        theirs.step()


def test_a_single_step_trains():
    assert Optimization("adamw", 0.3, "cosine", 0.5).learning_rate_at(0, 1) == 0.3


@pytest.mark.parametrize(
    ("rule", "reference"),
    [
        (Optimization("adamw", 0.1, betas=(0.8, 0.9), weight_decay=0.2), (torch.optim.AdamW, {"weight_decay": 0.2})),
        (Optimization("adam", 0.1, betas=(0.8, 0.9)), (torch.optim.Adam, {})),
        (Optimization("sgd", 0.1), (torch.optim.SGD, None)),
    ],
)
def test_optimizers_are_those_of_torch(rule, reference):
    kind, options = reference
    start = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = (start.clone().requires_grad_(True) for _ in range(2))
    plain = kind([theirs], lr=0.1, **({} if options is None else {"betas": (0.8, 0.9), **options}), foreach=False)
    for optimizer, value in ((rule.build([ours]), ours), (plain, theirs)):
        for _ in range(3):
            value.grad = 2 * value.detach() + 1
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
