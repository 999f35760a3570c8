"""AdaLoRA, by PEFT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layersig.layers import Layer
from layersig.plugin.decorators import method
from layersig.recipe.schema import AdaLoraSettings, TrainSettings
from layersig.training.log import Step
from layersig.training.methods.base import Method, Tuning, TuningContext
from layersig.training.methods.lora import LoraTuning, factor_values

if TYPE_CHECKING:
    from torch import Tensor


class AdaLoraTuning(LoraTuning):
    """Three factors a layer, whose ranks are cut to a budget while they train."""

    def extra_loss(self, step: int) -> Tensor:
        """The penalty on factors that are not orthogonal."""
        from layersig.models.adapters import orthogonality

        return orthogonality(self.model)

    def after_step(self, step: Step) -> None:
        """Measure importance and cut ranks, as planned."""
        from layersig.models.adapters import allocate

        allocate(self.model, step.step)

    def state(self) -> dict[str, Tensor]:
        """Averages of importance, and what is masked."""
        from layersig.models.adapters import allocation_state

        return allocation_state(self.model)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        from layersig.models.adapters import restore_allocation

        restore_allocation(self.model, state)


@method(
    "adalora",
    reads={"alpha", "dropout"},
    cannot={
        "experts": "is there for linear modules only, in PEFT",
        "ranks": "gives ranks by its own measure of importance",
        "resample": "weighs all layers in every step",
    },
    version=2,
)
class AdaLora(Method):
    """Factors P diag(E) Q whose ranks are cut to a budget while they train (Zhang et al., arXiv 2303.10512)."""

    Params = AdaLoraSettings

    @contextmanager
    def tune(self, context: TuningContext) -> Iterator[Tuning]:
        """Put factors on exactly the chosen layers, and take them out again."""
        from layersig.models.adapters import inject_adalora, remove_adapter

        settings, params = context.settings, context.params
        scale = 2.0 if settings.alpha is None else settings.alpha / params.init_r
        adapted = inject_adalora(
            context.model,
            context.layers,
            settings=params,
            alpha=scale * params.init_r,
            dropout=settings.dropout,
            steps=context.steps,
            streams=context.streams,
        )
        try:
            yield AdaLoraTuning(adapted, context)
        finally:
            remove_adapter(adapted)

    def trained_values(self, layer: Layer, settings: TrainSettings) -> int:
        """All three factors, at the rank that they start with."""
        rank = settings.adalora.init_r
        return factor_values(layer, rank) + rank
