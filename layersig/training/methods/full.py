"""Full fine-tuning of chosen layers: their weights themselves, in float32 whatever the model computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layersig.layers import Layer
from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import Method, Tuning, TuningContext
from layersig.training.methods.weights import WeightTuning

if TYPE_CHECKING:
    from torch import Tensor


class FullTuning(WeightTuning):
    """Weights of the chosen layers, without their biases."""

    def change(self, layer: Layer) -> Tensor:
        """The tuned weight less the model's own."""
        from layersig.models.dense import change

        return change(self.model, layer, self.parameters[layer.name])


@method(
    "full",
    result="checkpoint",
    cannot={
        "quantization": "trains the weights themselves, which 4-bit ones cannot be",
        "ranks": "trains whole weights and has no ranks to give",
        "until": "would keep whole weights at every look; ending early needs an update of factors",
    },
    version=1,
)
class Full(Method):
    """The weights of the layers themselves, in float32 whatever the model computes in."""

    @contextmanager
    def tune(self, context: TuningContext) -> Iterator[Tuning]:
        """Let the model compute with weights of its own in the chosen layers."""
        from layersig.models.dense import trained_weights

        with trained_weights(context.model, context.layers) as weights:
            yield FullTuning(context.model, context.layers, weights)

    def trained_values(self, layer: Layer, settings: TrainSettings) -> int:
        """All weights."""
        return layer.parameters
