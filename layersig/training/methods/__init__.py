"""Tuning methods: one small file each, and each a registered component."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layersig.errors import UserError
from layersig.layers import Layer
from layersig.plugin.components import Component
from layersig.plugin.manager import built_in
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import Base, Method, Tuning, TuningContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from layersig.data.pairs import Items
    from layersig.streams import Streams

__all__ = ["Base", "Method", "Tuning", "TuningContext", "component_of", "tuned"]


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
    examples: Items | None = None,
    batches: Sequence[Sequence[int]] = (),
    components: Iterable[Component] = (),
) -> Iterator[Tuning]:
    """Within this context `layers` of `model` are tuned by the method of `settings`; afterwards it is as before.

    Args:
        model: A model without adapters.
        layers: What is tuned; nothing else is.
        settings: Method and its parameters.
        base: What adapters say about the model they belong to.
        steps: Planned optimizer steps.
        streams: Random streams of the cell.
        ranks: Ranks of single layers by full name, for LoRA.
        examples: What they are trained on, for methods that look at it before.
        batches: Optimizer batches.
        components: Methods that are not built in.

    Raises:
        UserError: The method cannot tune these layers of this model.
        StageFailed: PEFT did something else than it was asked for.
    """
    method = component_of(settings.method, components)
    experts = [layer.name for layer in layers if layer.is_parameter]
    if experts and "experts" in method.cannot:
        raise UserError(
            f'method "{method.name}" cannot tune {experts[0]}: it {method.cannot["experts"]}; write '
            'train.method = "lora", or leave such layers out'
        )
    context = TuningContext(
        model=model,
        layers=layers,
        settings=settings,
        method=method,
        base=base,
        steps=steps,
        streams=streams,
        ranks=ranks or {},
        examples=examples,
        batches=batches,
    )
    with method.create().tune(context) as tuning:
        yield tuning


def component_of(name: str, components: Iterable[Component]) -> Component:
    """The tuning method of that name: one of `components`, or a built-in one.

    Raises:
        UserError: There is none.
    """
    given = (each for each in components if (each.kind, each.name) == ("method", name))
    return next(given, None) or built_in().get("method", name)
