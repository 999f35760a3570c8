"""The loop against plain PyTorch, transformers and PEFT, computed in float64."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import get_scheduler

from layersig.errors import StageFailed, UserError
from layersig.fast import runner
from layersig.fast.batching import PackedBatching
from layersig.fast.numerics import LANES, numerics_key
from layersig.fast.packing import why_padded
from layersig.fast.runner import Workload
from layersig.fast.workers import Lanes
from layersig.recipe.schema import TrainSettings
from layersig.training.callbacks import Milestones
from layersig.training.log import Step
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.tiny import tiny_model, torch_threads
from tests.training.world import BATCHES, CPU, SETTINGS, STREAMS, adapted, examples, run, trained, values


def batch_loss(model, chosen):
    """Mean cross entropy over the targets of all `chosen`, each run alone."""
    losses, count = 0.0, 0
    for example in chosen:
        tokens = torch.from_numpy(example.tokens.astype("int64"))
        logits = model(input_ids=tokens[None]).logits[0]
        where = torch.from_numpy(example.targets).nonzero().flatten()
        losses = losses + cross_entropy(logits[where - 1], tokens[where], reduction="sum")
        count += len(where)
    return losses / count


def plain_training(model, settings, batches=BATCHES):
    """What a user would write with torch and transformers."""
    data, parameters = examples(), list(trained(model).values())
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
    warmup = math.ceil(settings.warmup_ratio * len(batches))
    schedule = get_scheduler(settings.schedule, optimizer, num_warmup_steps=warmup, num_training_steps=len(batches))
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = batch_loss(model, [data[index] for index in batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def one_step_gradient(model, **changes):
    """Loss and gradient of the first batch, read off an update by plain gradient descent."""
    before = values(trained(model))
    log = run(
        model,
        SETTINGS.model_copy(update=changes),
        batches=BATCHES[:1],
        optimization=Optimization("sgd", learning_rate=1.0),
    )
    return log.steps[0].loss, {name: before[name] - value.detach() for name, value in trained(model).items()}


# Norms of the others compute in float32 whatever the model's dtype, so there a rounding may fall either way.
TOLERANCE = {"gpt2": 1e-10, "gpt_neox": 1e-10}


def assert_gradient_of_single_examples(architecture, budget):
    reference, tolerance = adapted(architecture), TOLERANCE.get(architecture, 1e-6)
    loss = batch_loss(reference, [examples()[index] for index in BATCHES[0]])
    loss.backward()
    found_loss, gradient = one_step_gradient(adapted(architecture), micro_batch_tokens=budget)
    assert found_loss == pytest.approx(loss.item(), rel=tolerance)
    for name, parameter in trained(reference).items():
        assert parameter.grad is not None
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(gradient[name], parameter.grad, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("budget", [1, 40, 75, 4096])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "qwen3_moe"])
def test_gradient_is_that_of_single_examples_whatever_the_budget(architecture, budget):
    assert_gradient_of_single_examples(architecture, budget)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_training_equals_plain_peft_step_by_step(schedule):
    settings = SETTINGS.model_copy(update={"schedule": schedule, "warmup_ratio": 0.4, "clip": 0.05})
    plain, ours = adapted(), adapted()
    losses = plain_training(plain, settings)
    log = run(ours, settings)
    assert [step.loss for step in log.steps] == pytest.approx(losses, rel=1e-10)
    for name, parameter in trained(plain).items():
        torch.testing.assert_close(trained(ours)[name], parameter, rtol=1e-8, atol=1e-11)
    assert all(step.gradient_norm > settings.clip for step in log.steps)


@pytest.mark.parametrize("architecture", ["mistral", "gemma3_text"])
def test_padding_needs_no_mask_under_a_sliding_window(architecture):
    # The window of 8 is shorter than the examples; the reference runs them alone, without any padding.
    assert why_padded(adapted(architecture).get_base_model(), 30) is not None
    assert_gradient_of_single_examples(architecture, 4096)


@pytest.mark.parametrize("budget", [1, 4096])
def test_dropout_does_not_depend_on_the_cut(budget):
    loss, gradient = one_step_gradient(adapted(dropout=0.3))
    other_loss, other = one_step_gradient(adapted(dropout=0.3), micro_batch_tokens=budget)
    assert other_loss == pytest.approx(loss, rel=1e-12)
    for name, value in gradient.items():
        torch.testing.assert_close(other[name], value, rtol=1e-9, atol=1e-12)
    assert abs(loss - one_step_gradient(adapted())[0]) > 1e-3


def trained_with(threads, settings, batches, **options):
    model = adapted(dropout=0.3, **options)
    with torch_threads(threads):
        log = run(model, settings, batches=batches)
    return model, log


@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("layers", [None, ["model.layers.1.mlp.up_proj", "model.layers.2.self_attn.q_proj"]])
def test_lanes_change_rounding_only_and_never_differ_from_themselves(layers, checkpointing):
    settings = SETTINGS.model_copy(update={"gradient_checkpointing": checkpointing, "micro_batch_tokens": 80})
    # Over two epochs, so that frozen lower blocks are kept; an example comes up twice in a step.
    batches = [*BATCHES, (0, 0, 6, 2), *BATCHES]
    alone, log = trained_with(1, settings, batches, layers=layers)
    together, other = trained_with(2, settings, batches, layers=layers)
    assert LANES in other.numerics
    assert LANES not in log.numerics
    assert [step.loss for step in other.steps] == pytest.approx([step.loss for step in log.steps], rel=1e-9)
    for name, value in trained(alone).items():
        torch.testing.assert_close(trained(together)[name], value, rtol=1e-6, atol=1e-8)
    for _ in range(3):
        again, _ = trained_with(2, settings, batches, layers=layers)
        assert all(torch.equal(value, trained(again)[name]) for name, value in trained(together).items())


def test_large_gradients_have_one_lane(monkeypatch):
    monkeypatch.setattr(runner, "_LARGEST", 100)
    _, log = trained_with(2, SETTINGS, BATCHES)
    assert LANES not in log.numerics


def test_packed_micro_batches_keep_the_budget_and_serve_every_lane():
    lengths = [40, 39, 20, 18, 3, 2, 90]
    for count, budget, most in ((1, 60, 60), (2, 120, 60), (2, 1000, 500), (3, 200, 66)):
        cuts = PackedBatching(budget, Lanes(count)).cut(lengths, range(7))
        assert sorted(index for cut in cuts for index in cut) == list(range(7))
        assert all(len(cut) == 1 or sum(lengths[index] for index in cut) <= most for cut in cuts)
        assert len(cuts) >= count
    assert PackedBatching(1000, Lanes(2)).cut(lengths, range(7)) == [[6, 3], [0, 1, 2, 4, 5]]


def test_a_batch_that_cannot_be_shared_out_stays_whole():
    for lengths in ([50], [50, 20], [90, 10, 10, 10]):
        assert PackedBatching(1000, Lanes(2)).cut(lengths, range(len(lengths))) == [list(range(len(lengths)))]
    assert len(PackedBatching(60, Lanes(2)).cut([50, 20], range(2))) == 2


@pytest.mark.parametrize("layers", [None, ["model.layers.1.mlp.up_proj", "model.layers.2.self_attn.q_proj"]])
def test_gradient_checkpointing_changes_nothing(layers):
    loss, gradient = one_step_gradient(adapted(dropout=0.3, layers=layers))
    other_loss, other = one_step_gradient(adapted(dropout=0.3, layers=layers), gradient_checkpointing=True)
    assert other_loss == loss
    for name, value in gradient.items():
        torch.testing.assert_close(other[name], value, rtol=1e-9, atol=1e-12)


def test_gradient_checkpointing_asks_for_blocks(monkeypatch):
    model = adapted()
    monkeypatch.setattr("layersig.fast.recompute.GradientCheckpointingLayer", type("Other", (), {}))
    with pytest.raises(UserError, match="gradient_checkpointing"):
        run(model, SETTINGS.model_copy(update={"gradient_checkpointing": True}))


def test_the_model_is_left_as_it_was():
    model = adapted(dropout=0.3)
    model.train()
    modes = [module.training for module in model.modules()]
    kinds = [type(module) for module in model.modules()]
    run(model, SETTINGS.model_copy(update={"gradient_checkpointing": True}))
    assert [module.training for module in model.modules()] == modes
    assert [type(module) for module in model.modules()] == kinds
    assert model.config._attn_implementation == "sdpa"
    assert not any("forward" in vars(module) for module in model.modules())


def test_trains_full_weights_without_adapters():
    model = tiny_model("llama", dtype=torch.float64)
    weight = model.model.layers[1].mlp.up_proj.weight.requires_grad_(True)
    before = weight.detach().clone()
    loss = batch_loss(model, [examples()[index] for index in BATCHES[0]])
    loss.backward()
    gradient = weight.grad.clone()
    rule = Optimization("sgd", learning_rate=0.5)
    train(Workload(model, {"weight": weight}, examples(), BATCHES[:1], SETTINGS, STREAMS), rule)
    torch.testing.assert_close(before - weight.detach(), 0.5 * gradient, rtol=1e-9, atol=1e-12)


def test_hooks_are_called_in_order_and_can_end_the_training():
    model, seen = adapted(), []

    def penalty(number: int) -> torch.Tensor:
        seen.append(("extra", number))
        return 1e-3 * sum(parameter.square().sum() for parameter in trained(model).values())

    def after(step: Step) -> bool:
        seen.append(("after", step.step))
        return step.step == 2

    log = run(
        model, extra_loss=penalty, after_step=after, callbacks=[Milestones({2: lambda: seen.append(("milestone", 2))})]
    )
    assert seen == [("extra", 1), ("after", 1), ("extra", 2), ("after", 2), ("milestone", 2)]
    assert len(log.steps) == 2
    assert log.steps[0].loss > run(adapted()).steps[0].loss


def test_log_counts_real_tokens_and_targets():
    log = run(adapted())
    data = examples()
    assert [step.tokens for step in log.steps] == [sum(len(data[index]) for index in batch) for batch in BATCHES]
    assert [step.targets for step in log.steps] == [
        sum(int(data[index].targets.sum()) for index in batch) for batch in BATCHES
    ]
    assert log.numerics == "packed-attention+lora-linear"
    assert set(log.numerics.split("+")) <= set(numerics_key(CPU, torch.float64)["paths"])
    assert log.peak_memory > 0


def test_a_loss_that_is_not_finite_stops_before_the_update():
    model = adapted()
    states = []

    def poison(step: Step) -> None:
        states.append(values(trained(model)))
        if step.step == 2:
            model.get_base_model().model.norm.weight.data[0] = math.nan

    with pytest.raises(StageFailed, match=r"step 3: the loss is nan at learning rate .* last finite loss was \d"):
        run(model, SETTINGS.model_copy(update={"warmup_ratio": 0.0}), after_step=poison)
    for name, value in states[1].items():
        assert torch.equal(trained(model)[name], value)


def test_settings_give_the_optimization():
    settings = TrainSettings(learning_rate=1e-3, schedule="linear", clip=None)
    assert dataclasses.asdict(Optimization.of(settings)) == {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "schedule": "linear",
        "warmup_ratio": 0.01,
        "betas": (0.9, 0.99),
        "weight_decay": 0.1,
        "clip": None,
    }


def test_a_tuned_head_drops_out_like_any_layer():
    tuned = ["lm_head", "model.layers.1.mlp.up_proj"]
    whole, cut = (adapted("llama", layers=tuned, dropout=0.3) for _ in range(2))
    run(whole, SETTINGS.model_copy(update={"micro_batch_tokens": 1000}), batches=BATCHES[:1])
    run(cut, SETTINGS.model_copy(update={"micro_batch_tokens": 40}), batches=BATCHES[:1])
    for name, value in trained(cut).items():
        torch.testing.assert_close(value, whole.get_parameter(name), rtol=1e-9, atol=1e-12)
