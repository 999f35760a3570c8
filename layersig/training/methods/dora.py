"""DoRA, by PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layersig.layers import Layer
from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import TuningContext
from layersig.training.methods.lora import Lora


@method(
    "dora",
    reads={"rank", "alpha", "dropout"},
    cannot={
        "quantization": "rescales the rows of the weights, and its update cannot be computed from 4-bit weights",
        "experts": "adapts linear modules only",
        "ranks": "gives all layers one rank",
        "until": "has an update that cannot be measured without the weights",
    },
    version=2,
)
class Dora(Lora):
    """LoRA's factors and, trained with them, the length of every row of the resulting weight (arXiv 2402.09353)."""

    def options(self, context: TuningContext) -> Mapping[str, Any]:
        """PEFT's DoRA."""
        return {"use_dora": True}

    def trained_values(self, layer: Layer, settings: TrainSettings) -> int:
        """The factors, and a length for every output."""
        return super().trained_values(layer, settings) + layer.shape[-2]

    def update_values(self, layer: Layer, settings: TrainSettings) -> int:
        """All weights: the change is no product of factors."""
        return layer.parameters
