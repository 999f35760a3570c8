"""Gains: tuning by one trained factor for each output of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from layersig import Params as ComponentParams
from layersig import method
from layersig.training.methods import Method, Tuning, TuningContext
from layersig.training.methods.weights import WeightTuning

if TYPE_CHECKING:
    from torch import Tensor, nn

    from layersig.layers import Layer
    from layersig.recipe.schema import TrainSettings

LAYERSIG_API = ">=1.0,<2"


class GainTuning(WeightTuning):
    """Layers whose outputs are multiplied by 1 + g."""

    def __init__(self, context: TuningContext) -> None:
        import torch

        self.width = context.params.width
        dtype = torch.promote_types(context.model.dtype, torch.float32)
        gains = {
            f"{layer.name}.gain": torch.zeros(_groups(layer, self.width), dtype=dtype, device=context.model.device)
            for layer in context.layers
        }
        super().__init__(context.model, context.layers, {name: gain.requires_grad_() for name, gain in gains.items()})

    def gain(self, layer: Layer) -> Tensor:
        """G of every output of a layer."""
        return self.parameters[f"{layer.name}.gain"].repeat_interleave(self.width)[: layer.shape[0]]

    def change(self, layer: Layer) -> Tensor:
        """diag(g) W."""
        from layersig.models.layermap import layer_weight

        weight = layer_weight(self.model, layer).detach()
        return (self.gain(layer).detach().unsqueeze(1) * weight).float()

    def multiply(self, layer: Layer, module: nn.Module, _: Any, output: Tensor) -> Tensor:
        """The output of a layer with its gain; a bias stays as it is."""
        plain = output if module.bias is None else output - module.bias
        return output + self.gain(layer).to(output.dtype) * plain


def _groups(layer: Layer, width: int) -> int:
    return -(-layer.shape[0] // width)


@method(
    "gain",
    result="checkpoint",
    cannot={
        "quantization": "stores the change of the weights, which 4-bit ones cannot take",
        "experts": "multiplies the outputs of linear modules",
        "ranks": "has no ranks",
        "until": "would store whole weights at every look",
    },
    version=1,
)
class Gain(Method):
    """One factor 1 + g for each output of a layer (or for several neighbours), that starts at 1: W' = diag(1 + g) W."""

    class Params(ComponentParams):
        """Parameters of `gain`."""

        width: Annotated[int, Field(ge=1)] = 1
        """Neighbouring outputs that share a factor."""

    @contextmanager
    def tune(self, context: TuningContext) -> Iterator[Tuning]:
        """Multiply the outputs of the chosen layers until the context ends."""
        tuning = GainTuning(context)
        with ExitStack() as hooks:
            for layer in context.layers:
                module = context.model.get_submodule(layer.name)
                hooks.callback(module.register_forward_hook(partial(tuning.multiply, layer)).remove)
            yield tuning

    def trained_values(self, layer: Layer, settings: TrainSettings) -> int:
        """A factor for every `width` outputs."""
        return _groups(layer, settings.table("gain").get("width", 1))
