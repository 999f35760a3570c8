"""GoRA: LoRA whose ranks follow |weight x gradient| and whose start is a step against the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import Tuning, TuningContext
from layersig.training.methods.lora import Lora

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.layers import Layer


@method(
    "gora",
    reads={"rank", "alpha", "dropout"},
    cannot={
        "quantization": "needs gradients of the weights, which 4-bit ones have not",
        "experts": "looks at the gradients of linear modules only",
        "ranks": "gives ranks by weights and gradients",
        "resample": "shares ranks out among all chosen layers, which are not trained together then",
    },
    version=2,
)
class Gora(Lora):
    """LoRA with ranks and start from the gradient of the weights (He et al., arXiv 2502.12171, code read).

    With G the mean gradient of a layer over the first batches, its importance is mean |W * G|. Of the budget, the sum
    over layers of `rank` sqrt(in + out), a layer gets its share of all importance, and the rank that pays for it,
    rounded down, from `least` to `most` times `rank`. A starts as in LoRA, and B so that scale * B A is
    -`step` sqrt(in / r) G projected on the rows of A.

    The clipping keeps no budget, as in the released code. Deviations: that code adds the projected gradient, and its
    own measure of the error has the minus that is taken here; the scale stays that of LoRA, alpha / `rank`, and both
    factors have one learning rate (there: the root of the rank, and 16 times the rate for B). The values of its scripts
    were not seen: `step` is a default in its code, 32 batches and the limits of ranks are from a survey of it.
    """

    class Params(ComponentParams):
        """Parameters of `gora`."""

        batches: Annotated[int, Field(ge=1)] = 32
        """Optimizer batches, the first of the training, over which the gradient is averaged: a pass forwards and back
        each."""
        least: Annotated[float, Field(gt=0, le=1)] = 0.5
        """Smallest rank, in units of `rank`."""
        most: Annotated[float, Field(ge=1)] = 4.0
        """Largest rank, in units of `rank`."""
        step: Annotated[float, Field(gt=0)] = 1e-3
        """Length of the step against the gradient that training starts from."""

    @contextmanager
    def tune(self, context: TuningContext) -> Iterator[Tuning]:
        """Put factors of the allotted ranks on the layers, with B at its start."""
        import torch

        from layersig.models.adapters.wrappers import wrapped_layers

        params, rank = context.params, context.settings.rank
        gradients = _mean_gradients(context)
        importance = {name: _importance(context, name, gradient) for name, gradient in gradients.items()}
        limits = max(1, round(params.least * rank)), round(params.most * rank)
        ranks = allotted_ranks(importance, context.layers, rank, limits)
        with super().tune(replace(context, ranks=ranks)) as tuning:
            with torch.no_grad():
                for name, wrapper in wrapped_layers(context.model).items():
                    adapter = wrapper.active_adapters[0]
                    a, b = wrapper.lora_A[adapter].weight, wrapper.lora_B[adapter].weight
                    gradient = gradients[name].mT if wrapper.fan_in_fan_out else gradients[name]
                    length = params.step * math.sqrt(a.shape[1] / a.shape[0]) / wrapper.scaling[adapter]
                    b.copy_(-length * projected(gradient.to(a.device), a))
            yield tuning

    def passes_before(self, settings: TrainSettings) -> Mapping[str, int]:
        """A pass forwards and back of every batch; the gradient of a weight costs what its forward pass does."""
        batches = self.Params.model_validate(settings.table("gora")).batches
        return {"plain": batches, "read": batches}


def allotted_ranks(
    importance: Mapping[str, float], layers: Sequence[Layer], rank: int, limits: tuple[int, int]
) -> dict[str, int]:
    """Ranks by importance, as the released code rounds and clips them.

    Args:
        importance: Importance of every layer by name.
        layers: The layers.
        rank: Rank that all would have if they were alike.
        limits: Smallest and largest rank.
    """
    roots = {layer.name: math.sqrt(layer.shape[-2] + layer.shape[-1]) for layer in layers}
    budget, total = rank * sum(roots.values()), sum(importance.values()) or 1.0
    due = {name: round(budget * importance[name] / total) // root for name, root in roots.items()}
    return {name: int(min(max(each, limits[0]), limits[1])) for name, each in due.items()}


def projected(gradient: Tensor, a: Tensor) -> Tensor:
    """The B (out, r) for which B A is nearest to the gradient (out, in)."""
    import torch

    from layersig.models.devices import wide

    rows = wide(a)
    square = rows @ rows.mT + 1e-8 * torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    found: Tensor = torch.linalg.solve(square, rows @ gradient.to(rows).mT).mT
    return found.to(a)


def _importance(context: TuningContext, name: str, gradient: Tensor) -> float:
    weight = context.model.get_submodule(name).weight
    return float((weight.detach().to(gradient) * gradient).abs().mean())


def _mean_gradients(context: TuningContext) -> dict[str, Tensor]:
    """Gradient of the loss of the first batches with respect to every weight, their mean, on the CPU."""
    from layersig.fast.runner import reading_runner
    from layersig.models.dense import own_parameters
    from layersig.training.gradients import visit_gradients

    assert context.examples is not None, "a training has examples"
    batches = context.batches[: context.params.batches]
    means: dict[str, Tensor] = {}

    def add(_: int, name: str, gradient: Tensor) -> None:
        share = gradient.cpu() / len(batches)
        means[name] = means[name].add_(share) if name in means else share

    budget = context.settings.micro_batch_tokens
    with (
        own_parameters(context.model, context.layers) as weights,
        reading_runner(context.model, context.examples, budget, fast=False, shared=False) as runner,
    ):
        visit_gradients(runner, weights, context.examples, batches, add)
    return {layer.name: means[layer.name] for layer in context.layers}
