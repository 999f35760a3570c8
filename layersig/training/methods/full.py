"""Full fine-tuning of chosen layers: their weights themselves, in float32 whatever the model computes in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layersig.errors import StageFailed
from layersig.layers import Layer
from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import Method, Tuning, TuningContext

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class FullTuning(Tuning):
    """Weights of the chosen layers, without their biases."""

    model: PreTrainedModel

    def __init__(self, model: PreTrainedModel, layers: Sequence[Layer], weights: Mapping[str, Tensor]) -> None:
        from layersig.models.values import hash_values

        super().__init__(model, weights)
        self._layers = layers
        self._before = hash_values(model.state_dict().values())

    def save(self, folder: Path) -> None:
        """The difference of the tuned weights, in float32."""
        from layersig.models.dense import change, write_update
        from layersig.models.updates import DenseUpdate

        # Off the device layer by layer, where the training has left no room for all of them.
        moved = {layer.name: change(self.model, layer, self.parameters[layer.name]).cpu() for layer in self._layers}
        write_update(DenseUpdate(moved), folder, base_dtype=self.model.dtype)

    def assert_moved(self) -> None:
        """Every chosen weight changed to finite values, and the model's own are as they were."""
        from layersig.models.dense import change
        from layersig.models.updates import Delta
        from layersig.models.values import hash_values

        norms = {
            layer.name: Delta(change(self.model, layer, self.parameters[layer.name])).norm() for layer in self._layers
        }
        still = sorted(name for name, norm in norms.items() if not (math.isfinite(norm) and norm > 0))
        if still:
            raise StageFailed(f"training left these layers without a finite, non-zero update: {', '.join(still)}")
        if hash_values(self.model.state_dict().values()) != self._before:
            raise StageFailed("the model's own weights have changed under full fine-tuning")


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
