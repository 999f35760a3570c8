"""Tuning that changes the weights of layers in some dense way: how the change is stored, and proved."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layersig.errors import Diverged, StageFailed
from layersig.layers import Layer
from layersig.training.methods.base import Tuning

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class WeightTuning(Tuning):
    """What every method shares whose `result` is a checkpoint; the model's own weights are never written to."""

    model: PreTrainedModel

    def __init__(self, model: PreTrainedModel, layers: Sequence[Layer], parameters: Mapping[str, Tensor]) -> None:
        super().__init__(model, parameters)
        self._layers = layers
        self._before = self._frozen()

    @abstractmethod
    def change(self, layer: Layer) -> Tensor:
        """The change of a layer's weight as it is now: float32, in the shape of the layer map."""

    def save(self, folder: Path) -> None:
        """The changes of all layers, in float32."""
        from layersig.models.dense import write_update
        from layersig.models.updates import DenseUpdate, LazyTensors

        layers = {layer.name: layer for layer in self._layers}
        # Off the device layer by layer, where the training has left no room for all of them.
        moved = LazyTensors(
            {name: layer.shape for name, layer in layers.items()}, lambda name: self.change(layers[name]).cpu()
        )
        write_update(DenseUpdate(moved), folder, base_dtype=self.model.dtype)

    def assert_moved(self) -> None:
        """Every chosen weight changed to finite values, and the model's own are as they were."""
        from layersig.models.updates import Delta

        norms = {layer.name: Delta(self.change(layer)).norm() for layer in self._layers}
        still = sorted(name for name, norm in norms.items() if not (math.isfinite(norm) and norm > 0))
        if still:
            failure = StageFailed if all(map(math.isfinite, norms.values())) else Diverged
            raise failure(f"training left these layers without a finite, non-zero update: {', '.join(still)}")
        if self._frozen() != self._before:
            raise StageFailed("the model's own weights have changed while copies of them were trained")

    def _frozen(self) -> tuple[int, ...]:
        """Hashes of all that the model has and that is not trained."""
        from layersig.models.tensor_hash import hash_values

        trained = {id(parameter) for parameter in self.parameters.values()}
        state = self.model.state_dict(keep_vars=True).values()
        return hash_values(value for value in state if id(value) not in trained)
