"""Rank-stabilised LoRA, by PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import TuningContext
from layersig.training.methods.lora import Lora


@method(
    "rslora",
    reads={"rank", "alpha", "dropout"},
    cannot={"ranks": "divides by the root of one rank"},
    version=1,
)
class RsLora(Lora):
    """LoRA with the scale alpha / sqrt(r), so that steps do not shrink as the rank grows (arXiv 2312.03732)."""

    def alpha(self, settings: TrainSettings) -> float:
        """As given, or PEFT's default of 8: an alpha in proportion to the rank would undo what the root is for."""
        return 8.0 if settings.alpha is None else settings.alpha

    def options(self, context: TuningContext) -> Mapping[str, Any]:
        """PEFT divides by the root."""
        return {"use_rslora": True}
