"""Optimizers with small moments against torch's AdamW, and across an interruption."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from layersig.errors import UserError
from layersig.stages import interval
from layersig.training import optimizers
from layersig.training.log import Step
from layersig.training.optimization import Optimization
from layersig.training.optimizers import rounded_at_random
from tests.training.world import BATCHES, adapted, run, trained

SMALL = ["adamw-bf16", "adamw-8bit", "paged-adamw", "paged-adamw-8bit"]
FACTORS = {"paged-adamw": 1e-5, "adamw-bf16": 0.02, "adamw-8bit": 0.05, "paged-adamw-8bit": 0.05}
"""Largest distance to torch's AdamW, as a share of the way that it goes."""


def _moved(name, steps=30):
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(80, 64, generator=generator).requires_grad_(True)
    rule = Optimization(name, 0.01, betas=(0.9, 0.99), weight_decay=0.1)
    optimizer = rule.build([value])
    for _ in range(steps):
        value.grad = (value.detach() - 1) * (1 + torch.randn(value.shape, generator=generator))
        optimizer.step()
    return value.detach(), optimizer


@pytest.mark.parametrize("name", SMALL)
def test_small_moments_move_as_those_of_torch_do(name):
    (ours, optimizer), (theirs, _), (start, _) = _moved(name), _moved("adamw"), _moved("adamw", 0)
    assert (ours - theirs).norm() < FACTORS[name] * (theirs - start).norm()
    (state,) = optimizer.state.values()
    sizes = {key: value.itemsize for key, value in state.items() if torch.is_tensor(value) and value.numel() == 80 * 64}
    assert set(sizes.values()) == {2 if name == "adamw-bf16" else 1 if name.endswith("8bit") else 4}
    assert len(sizes) == 2


def test_rounding_at_random_keeps_the_mean_and_the_nearest_would_not():
    generator = torch.Generator().manual_seed(0)
    value = torch.full((20_000,), 1.0 + 1 / 512)  # a quarter of the way from 1 to its neighbour
    found = rounded_at_random(value, generator)
    assert set(found.float().tolist()) == {1.0, 1.0 + 1 / 128}
    assert abs(found.float().mean() - value[0]) < 1e-4
    exact = torch.tensor([0.0, -2.5, 1e30, -1e-30]).to(torch.bfloat16)
    assert torch.equal(rounded_at_random(exact.float(), generator), exact)


def test_the_second_moment_decays():
    value = nn.Parameter(torch.zeros(2000))
    optimizer = Optimization("adamw-bf16", 0.01, betas=(0.9, 0.999)).build([value])
    for step in range(1001):
        value.grad = torch.full_like(value, 1.0 if step == 0 else 0.0)
        optimizer.step()
    (state,) = optimizer.state.values()
    assert state["exp_avg_sq"].float().mean().item() == pytest.approx(0.001 * 0.999**1000, rel=0.02)


@pytest.mark.parametrize("name", SMALL)
def test_an_interruption_changes_nothing(tmp_path, name, monkeypatch):
    monkeypatch.setattr(interval, "SECONDS", 0.0)
    monkeypatch.setattr(interval, "SHARE", float("inf"))
    options = {"batches": BATCHES * 2, "optimization": Optimization(name, 1e-2)}
    unbroken, resumed = adapted(), adapted()
    run(unbroken, **options)

    def kill(step: Step) -> None:
        if step.step == 4:
            raise SystemExit

    with pytest.raises(SystemExit):
        run(adapted(), checkpoint=tmp_path, after_step=kill, **options)
    seen = []
    run(resumed, checkpoint=tmp_path, after_step=lambda step: seen.append(step.step), **options)
    assert seen == [4, 5, 6]
    assert all(torch.equal(trained(resumed)[name], each) for name, each in trained(unbroken).items())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(optimizers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train\.optimizer = 'adamw-8bit' needs the package bitsandbytes"):
        Optimization("adamw-8bit", 0.1).build([torch.zeros(2, requires_grad=True)])
    Optimization("adamw-bf16", 0.1).build([torch.zeros(2, requires_grad=True)])
