"""LoRA by PEFT, and what every method of its family is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layersig.layers import Layer
from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import Method, Tuning, TuningContext

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    from layersig.models.updates import Delta


class LoraTuning(Tuning):
    """Layers wrapped by PEFT; what it adds to them is trained and saved in its format."""

    model: PeftModel

    def __init__(self, adapted: PeftModel, context: TuningContext) -> None:
        super().__init__(adapted, {name: each for name, each in adapted.named_parameters() if each.requires_grad})
        self.context = context

    def save(self, folder: Path) -> None:
        """What PEFT's `save_pretrained` writes."""
        from layersig.models.adapters import save_adapter

        save_adapter(self.model, folder, base_model=self.context.base.name, revision=self.context.base.revision)

    def delta(self, name: str, wrapper: LoraLayer) -> Delta:
        """The change of a layer as it is now."""
        from layersig.models.adapters import live_delta

        return live_delta(wrapper)

    def assert_moved(self) -> None:
        """See `layersig.models.adapters.assert_moved`."""
        from layersig.models.adapters import assert_moved

        assert_moved(self.model, self.context.layers, self.delta)


@method("lora", reads={"rank", "alpha", "dropout"}, version=1)
class Lora(Method):
    """Two low-rank factors a layer (Hu et al., arXiv 2106.09685); over 4-bit weights QLoRA (arXiv 2305.14314).

    A method of the same family derives from this class and overrides what differs.
    """

    def alpha(self, settings: TrainSettings) -> float:
        """As given, or 2 r (ours); PEFT scales B A by alpha / r."""
        scale = 2.0 if settings.alpha is None else settings.alpha / settings.rank
        return scale * settings.rank

    def options(self, context: TuningContext) -> Mapping[str, Any]:
        """More keys of PEFT's `LoraConfig`."""
        return {}

    def tuning(self, adapted: PeftModel, context: TuningContext) -> LoraTuning:
        """The tuning of a model with factors in place."""
        return LoraTuning(adapted, context)

    @contextmanager
    def tune(self, context: TuningContext) -> Iterator[Tuning]:
        """Put factors on exactly the chosen layers, and take them out again."""
        from layersig.models.adapters import inject_lora, remove_adapter

        adapted = inject_lora(
            context.model,
            context.layers,
            rank=context.settings.rank,
            alpha=self.alpha(context.settings),
            dropout=context.settings.dropout,
            streams=context.streams,
            ranks=context.ranks,
            modules_only="experts" in context.method.cannot,
            **self.options(context),
        )
        try:  # a hook that `tuning` puts on a wrapper goes with the wrapper
            yield self.tuning(adapted, context)
        finally:
            remove_adapter(adapted)

    def trained_values(self, layer: Layer, settings: TrainSettings) -> int:
        """Both factors, once for every expert."""
        return factor_values(layer, settings.rank)


def factor_values(layer: Layer, rank: int) -> int:
    """Values of a layer's two factors of that rank, one pair an expert."""
    return rank * (layer.shape[-2] + layer.shape[-1]) * (layer.shape[0] if layer.is_parameter else 1)
