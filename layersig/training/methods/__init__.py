"""Tuning methods: what each trains of the chosen layers, adds to a step, remembers between steps, and leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from transformers import PreTrainedModel

from layersig.layers import Layer
from layersig.models.adapters import inject_adalora, inject_lora, remove_adapter
from layersig.models.dense import trained_weights
from layersig.recipe.schema import TrainSettings
from layersig.streams import Streams
from layersig.training.methods.adapters import AdaLora, Lora
from layersig.training.methods.base import Base, Tuning
from layersig.training.methods.full import Full

__all__ = ["Base", "Full", "Tuning", "tuned"]


@contextmanager
def tuned(
    model: PreTrainedModel,
    layers: Sequence[Layer],
    settings: TrainSettings,
    *,
    base: Base,
    steps: int,
    streams: Streams,
    ranks: Mapping[str, int] | None = None,
) -> Iterator[Tuning]:
    """Within this context `layers` of `model` are tuned by the method of `settings`; afterwards it is as before.

    Args:
        model: A model without adapters.
        layers: What is tuned; nothing else is.
        settings: Method, ranks, scale, dropout.
        base: What adapters say about the model they belong to.
        steps: Planned optimizer steps.
        streams: Random streams of the cell.
        ranks: Ranks of single layers by full name, for LoRA.

    Raises:
        UserError: The method cannot tune these layers of this model.
        StageFailed: PEFT did something else than it was asked for.
    """
    if settings.method == "full":
        with trained_weights(model, layers) as weights:
            yield Full(model, layers, weights)
        return
    alpha = settings.scale * settings.lora_rank
    if settings.method == "adalora":
        adapted = inject_adalora(
            model,
            layers,
            settings=settings.adalora,
            alpha=alpha,
            dropout=settings.dropout,
            steps=steps,
            streams=streams,
        )
    else:
        adapted = inject_lora(
            model,
            layers,
            rank=settings.rank,
            alpha=alpha,
            dropout=settings.dropout,
            streams=streams,
            ranks=ranks,
        )
    try:
        yield (AdaLora if settings.method == "adalora" else Lora)(adapted, layers, base)
    finally:
        remove_adapter(adapted)
