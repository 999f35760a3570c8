"""Multiplications that a training cannot do without, for the report to set beside its time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from layersig.data.pairs import Items
from layersig.layers import Layer, LayerMap, Unit
from layersig.plugin.components import Component
from layersig.recipe.schema import TrainSettings
from layersig.selecting.costs import Arithmetic

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def operations(
    model: PreTrainedModel,
    layers: LayerMap,
    chosen: Sequence[Layer],
    settings: TrainSettings,
    method: Component,
    examples: Items,
    batches: Sequence[Sequence[int]],
) -> float:
    """Multiplications with weights and factors, forwards and back, in all optimizer batches; see `Arithmetic`."""
    groups = layers.groups(Unit.MODULE)
    names = {layer.name for layer in chosen}
    arithmetic = Arithmetic.of(groups, method, settings, model.config)
    drawn = list(chain.from_iterable(batches))
    return arithmetic.operations(
        [group for group in groups if group.name in names],
        tokens=int(examples.lengths[drawn].sum()),
        first=int(examples.lengths[sorted(set(drawn))].sum()),
        targets=int(examples.target_counts[drawn].sum()),
    )
