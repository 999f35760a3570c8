"""What of each layer's gradient an adapter sees in its first step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext


@scorer("projected-gradient", needs={"model", "data", "gradients"}, version=2)
class ProjectedGradient:
    """Squared norm of the first gradient of a fresh adapter, divided by its squared scale and its rank.

    An adapter s B A starts with B = 0 and random A, so that its first gradient is dL/dB = s G A', G being the gradient
    of the weight, and dL/dA = 0. Averaged over A as PEFT draws it, uniform with variance 1 / (3 in), its squared norm
    is s^2 r |G|^2 / (3 in): a squared gradient norm over input width. A unit has the sum of its layers.

    Derived here. It reconstructs what the abstract of "Rethinking adapter placement" (arXiv 2605.06183) says of its
    score PAGE; the formula of the paper was not seen, and no code was found.
    """

    class Params(ComponentParams):
        """Parameters of `projected-gradient`."""

        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches to average over: one forward and backward pass each."""
        draws: Annotated[int, Field(ge=0)] = 0
        """Rows of A to draw for every layer, as a single adapter of that rank would; 0 takes the mean over all A."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Mean energy of every unit."""
        count, draws = context.params.batches, context.params.draws
        totals: dict[str, float] = defaultdict(float)

        def value(_: int, layer: str, gradient: Tensor) -> float:
            return _on_draws(context, layer, gradient, draws) if draws else _on_average(gradient)

        for found in context.gradient_values(context.optimizer_batches(count), value):
            for layer, seen in found.items():
                totals[context.unit_of[layer]] += seen / count
        return {name: totals[name] for name in context.layers}


def _on_average(gradient: Tensor) -> float:
    from layersig.models.devices import wide

    return float(wide(gradient).square().sum()) / (3 * gradient.shape[-1])


def _on_draws(context: ScoringContext, layer: str, gradient: Tensor, draws: int) -> float:
    """Mean of |G a|^2 over rows a of A, the same rows in every batch."""
    import torch

    from layersig.models.devices import wide

    width = gradient.shape[-1]
    bound = width**-0.5
    rows = context.stream(f"rows of {layer}").uniform(-bound, bound, (draws, width))
    projected = gradient @ torch.from_numpy(rows).to(gradient).mT
    return float(wide(projected).square().sum()) / draws
