"""Loss and gradients of preferences against the formulas, computed with torch and transformers alone."""

from __future__ import annotations

import pytest
import torch

from layersig.errors import UserError
from layersig.fast.runner import Workload, reading_runner
from layersig.fast.shares import Sharing
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.objectives.world import DPO, SIMPO, dpo_loss, log_probability, pairs, part, simpo_loss
from tests.tiny import tiny_model, torch_threads
from tests.training.world import SETTINGS, STREAMS, adapted, trained, values

BATCH = (5, 0, 3, 6)
ARCHITECTURES = ["llama", "gemma2", "gpt2"]
LOWEST = ["model.layers.1.mlp.up_proj", "model.layers.2.self_attn.q_proj"]


def plain_loss(model, items, before, objective):
    """The loss of the batch by the formula."""
    chosen, rejected = part(items.chosen, BATCH), part(items.rejected, BATCH)

    def policy(example):
        return log_probability(model, example)

    if objective == "simpo":
        return simpo_loss(policy, chosen, rejected, **SIMPO)
    return dpo_loss(policy, lambda example: log_probability(before, example), chosen, rejected, **DPO)


@pytest.mark.parametrize(
    ("architecture", "objective"), [*((each, "dpo") for each in ARCHITECTURES), ("llama", "simpo")]
)
def test_loss_and_gradients_are_those_of_the_formula_in_float32(tmp_path, architecture, objective):
    before = tiny_model(architecture)
    items = pairs(tmp_path, before, objective, DPO if objective == "dpo" else SIMPO)
    model = tiny_model(architecture, seed=1)  # a policy that has moved away
    weights = {name: each.requires_grad_(True) for name, each in model.named_parameters()}
    expected = plain_loss(model, items, before, objective)
    gradients = dict(zip(weights, torch.autograd.grad(expected, list(weights.values())), strict=True))
    for fast, budget in ((True, 40), (True, 4096), (False, 1)):
        with reading_runner(model, items, budget, fast=fast) as runner:
            pieces = runner.in_pieces(BATCH, lambda found: [list(piece) for piece in found])
            loss = torch.stack([runner.loss(piece, len(BATCH)) for piece in pieces]).sum()
            assert runner.losses([BATCH])[0] == pytest.approx(expected.item(), rel=1e-5)
        assert sorted(index for piece in pieces for index in piece) == sorted(BATCH)
        found = torch.autograd.grad(loss, list(weights.values()))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        for name, gradient in zip(weights, found, strict=True):
            scale = gradients[name].abs().max().item()
            torch.testing.assert_close(gradient, gradients[name], rtol=0, atol=1e-5 * scale, msg=name)


def one_step(items, model, **changes):
    """Loss and gradient of the first batch, read off an update by plain gradient descent."""
    before = values(trained(model))
    settings = SETTINGS.model_copy(update={"micro_batch_tokens": 40, **changes})
    work = Workload(model, trained(model), items, [BATCH], settings, STREAMS)
    log = train(work, Optimization("sgd", learning_rate=1.0))
    return log.steps[0], {name: before[name] - value.detach() for name, value in trained(model).items()}


@pytest.mark.parametrize("changes", [{"micro_batch_tokens": 1}, {"micro_batch_tokens": 4096}])
def test_the_cut_changes_rounding_only_and_never_divides_a_pair(tmp_path, changes):
    items = pairs(tmp_path, tiny_model("llama", dtype=torch.float64), "dpo", DPO)
    first, gradient = one_step(items, adapted(dropout=0.3))
    other, found = one_step(items, adapted(dropout=0.3), **changes)
    assert other.loss == pytest.approx(first.loss, rel=1e-12)
    for name, value in gradient.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)
    undisturbed, _ = one_step(items, adapted())
    assert abs(undisturbed.loss - first.loss) > 1e-3
    both = items.chosen.lengths + items.rejected.lengths
    assert first.tokens == both[list(BATCH)].sum()


@pytest.mark.parametrize("layers", [pytest.param(None, marks=pytest.mark.slow), LOWEST])
def test_lanes_checkpoints_and_kept_prefixes_train_as_the_plain_runner_does(tmp_path, layers):
    items = pairs(tmp_path, tiny_model("llama", dtype=torch.float64), "dpo", DPO)
    batches = [BATCH, (0, 0, 6, 2), BATCH]  # pairs come up again, so that frozen lower blocks are kept

    def end(*, fast=True, threads=1, **changes):
        model = adapted(dropout=0.3, layers=layers)
        settings = SETTINGS.model_copy(update={"micro_batch_tokens": 100, **changes})
        with torch_threads(threads):
            work = Workload(model, trained(model), items, batches, settings, STREAMS, fast=fast)
            log = train(work, Optimization.of(settings))
        return [step.loss for step in log.steps], trained(model), log.numerics

    losses, parameters, _ = end(fast=False)
    for changes in ({}, {"threads": 2}, {"gradient_checkpointing": True}):
        found, others, numerics = end(**changes)
        assert found == pytest.approx(losses, rel=1e-8)
        assert ("kept-prefix" in numerics) == (layers is not None)
        for name, value in parameters.items():
            torch.testing.assert_close(others[name], value, rtol=1e-6, atol=1e-8)


def test_a_part_of_the_pairs_keeps_their_reference(tmp_path):
    items = pairs(tmp_path, tiny_model("llama"), "dpo", DPO)
    with reading_runner(tiny_model("llama", seed=1), items, 4096) as runner:
        expected = runner.losses([(6, 1)])
    with reading_runner(tiny_model("llama", seed=1), items.part([1, 6]), 4096) as runner:
        assert runner.losses([(1, 0)]) == pytest.approx(expected, rel=1e-6)


def test_a_model_split_among_processes_refuses_pairs(tmp_path):
    class Sharded:
        size, rank, sharded = 2, 0, True

    items = pairs(tmp_path, tiny_model("llama"), "dpo", DPO)
    with pytest.raises(UserError, match=r"--shard .* learns from pairs"):
        _ = Sharing(Sharded(), items).held
