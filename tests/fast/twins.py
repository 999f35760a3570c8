"""The twins of all that trains or takes gradients, on tiny models: loss and gradients of each, and their comparison.

Nothing here needs lm-eval, so that the tests of a GPU run on a machine without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import Tensor

from layersig.fast.runner import Workload, reading_runner, training_runner
from layersig.layers import Layer
from layersig.models.adapters import inject_adalora
from layersig.models.dense import trained_weights
from layersig.models.layermap import layer_map
from layersig.recipe.schema import AdaLoraSettings
from layersig.scoring.gating import gated
from layersig.training.gradients import visit_gradients
from tests.models.helpers import dense_update, low_rank_update, move
from tests.tiny import Double, tiny_model
from tests.training.world import SETTINGS, STREAMS, adapted, examples, trained

BUDGETS = (30, 75, 4096)
BATCH = (0, 3, 1, 6, 7)
Outcome = tuple[float, Mapping[str, Tensor]]
Kind = Callable[[str, torch.dtype, int, bool, bool], Outcome]


def blocks_of(model: torch.nn.Module) -> list[Layer]:
    """The layers below the head, whose dropout masks are the same in both twins."""
    return [layer for layer in layer_map(model) if layer.block is not None]


def step(model: torch.nn.Module, parameters: Mapping[str, Tensor], budget: int, fast: bool, again: bool) -> Outcome:
    """Loss of a training step, and the gradients that it adds."""
    settings = SETTINGS.model_copy(update={"micro_batch_tokens": budget, "gradient_checkpointing": again})
    work = Workload(model, parameters, examples(), [BATCH], settings, STREAMS, fast=fast)
    with training_runner(work) as runner:
        assert runner.in_pieces(BATCH, len) == 1 or budget < 4096 or not fast
        loss = runner.loss_and_gradients(BATCH, 3)
    return loss, {name: each.grad for name, each in parameters.items() if each.grad is not None}


def lora(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """Factors with dropout."""
    names = [layer.name for layer in blocks_of(tiny_model(architecture))]
    model = adapted(architecture, dtype=dtype, dropout=0.3, layers=names)
    return step(model, trained(model), budget, fast, again)


def adalora(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """Three factors with dropout."""
    model = tiny_model(architecture, dtype=dtype)
    layers = [layer for layer in blocks_of(model) if len(layer.shape) == 2]
    ranks = AdaLoraSettings(init_r=4, target_r=2)
    adapted_ = inject_adalora(model, layers, settings=ranks, alpha=8.0, dropout=0.3, steps=9, streams=STREAMS)
    move(adapted_)
    return step(adapted_, trained(adapted_), budget, fast, again)


def full(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """Weights, the head's too."""
    model = tiny_model(architecture, dtype=dtype)
    with trained_weights(model, list(layer_map(model))) as weights:
        return step(model, weights, budget, fast, again)


def low_rank_gates(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """The gates of ILA over factors."""
    return gates(architecture, dtype, budget, fast, again, low_rank_update)


def dense_gates(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """The gates of ILA over differences of weights."""
    return gates(architecture, dtype, budget, fast, again, dense_update)


def gates(
    architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool, update_of: Callable[..., object]
) -> Outcome:
    """One gate a layer."""
    model = tiny_model(architecture, dtype=dtype)
    update = update_of(layer_map(model))
    gamma = torch.linspace(0.2, 0.9, len(update.layers), dtype=dtype, device=model.device).requires_grad_()
    with gated(model, update, gamma, fast=fast):
        return step(model, {"gamma": gamma}, budget, fast, again)


def gradients(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """What gradient scorers see."""
    model = tiny_model(architecture, dtype=dtype)
    weights = {name: each for name, each in model.named_parameters() if name.endswith("weight")}
    seen: dict[str, Tensor] = {}
    with reading_runner(model, examples(), budget, fast=fast, pack=False) as runner:
        visit_gradients(runner, weights, examples(), [BATCH], lambda _, name, value: seen.update({name: value.clone()}))
    with reading_runner(model, examples(), budget, fast=fast) as runner:
        return runner.losses([BATCH])[0], seen


KINDS: tuple[Kind, ...] = (lora, adalora, full, low_rank_gates, dense_gates, gradients)


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[float]:
    """Within this context float64 models compute in float64 throughout; gives the tolerance."""
    with Double() if dtype is torch.float64 else nullcontext():
        yield 1e-9 if dtype is torch.float64 else 1e-5


def compare(kind: Kind, architecture: str, dtype: torch.dtype, budget: int, *, again: bool = False) -> None:
    """The fast twin against the plain one."""
    with precision(dtype) as tolerance:
        loss, found = kind(architecture, dtype, budget, True, again)
        plain_loss, plain = kind(architecture, dtype, budget, False, False)
    assert_agree((loss, found), (plain_loss, plain), tolerance)


def assert_agree(outcome: Outcome, expected: Outcome, tolerance: float) -> None:
    """Losses are equal up to a share of them, gradients up to that share of their largest entry."""
    (loss, found), (expected_loss, gradients) = outcome, expected
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    assert found
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        scale = max(gradient.abs().max().item(), 1e-3)
        assert (found[name] - gradient).abs().max().item() <= tolerance * scale, name
