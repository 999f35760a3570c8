"""Full fine-tuning of chosen layers: their weights themselves, in float32 whatever the model computes in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from layersig.errors import StageFailed
from layersig.layers import Layer
from layersig.models.dense import change, write_update
from layersig.models.tensor_hash import hash_values
from layersig.models.updates import Delta, DenseUpdate
from layersig.training.methods.base import Tuning


class Full(Tuning):
    """Weights of the chosen layers, without their biases."""

    model: PreTrainedModel

    def __init__(self, model: PreTrainedModel, layers: Sequence[Layer], weights: Mapping[str, Tensor]) -> None:
        super().__init__(model, weights)
        self._layers = layers
        self._before = hash_values(model.state_dict().values())

    def save(self, folder: Path) -> None:
        """The difference of the tuned weights, in float32."""
        # Off the device layer by layer, where the training has left no room for all of them.
        moved = {layer.name: change(self.model, layer, self.parameters[layer.name]).cpu() for layer in self._layers}
        write_update(DenseUpdate(moved), folder, base_dtype=self.model.dtype)

    def assert_moved(self) -> None:
        """Every chosen weight changed to finite values, and the model's own are as they were."""
        norms = {
            layer.name: Delta(change(self.model, layer, self.parameters[layer.name])).norm() for layer in self._layers
        }
        still = sorted(name for name, norm in norms.items() if not (math.isfinite(norm) and norm > 0))
        if still:
            raise StageFailed(f"training left these layers without a finite, non-zero update: {', '.join(still)}")
        if hash_values(self.model.state_dict().values()) != self._before:
            raise StageFailed("the model's own weights have changed under full fine-tuning")
