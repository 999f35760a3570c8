"""Gradient norm: how steeply the loss falls with each layer's weights, at the pretrained model."""

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


@scorer("gradient-norm", needs={"model", "data", "gradients"}, version=2)
class GradientNorm:
    """Frobenius norm of the gradient of the training loss, averaged over batches.

    The norm is taken for each optimizer batch and then averaged. Divided by the norm of the weights it is the relative
    gradient norm of surgical fine-tuning (Lee et al., arXiv 2210.11466, section 5). A unit of several layers counts as
    one long vector.
    """

    class Params(ComponentParams):
        """Parameters of `gradient-norm`."""

        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches to average over: one forward and backward pass each."""
        relative: bool = False
        """Divide by the Frobenius norm of the unit's pretrained weights."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Mean norm of every unit."""
        count = context.params.batches
        squares: dict[str, list[float]] = defaultdict(lambda: [0.0] * count)
        found = context.gradient_values(context.optimizer_batches(count), lambda _, __, gradient: _norm(gradient) ** 2)
        for batch, values in enumerate(found):
            for layer, square in values.items():
                squares[context.unit_of[layer]][batch] += square
        norms = {name: sum(value**0.5 for value in squares[name]) / count for name in context.layers}
        if not context.params.relative:
            return norms
        return {name: norm / _norm(context.weight(name)) for name, norm in norms.items()}


def _norm(values: Tensor) -> float:
    import torch

    # Accumulated in float32 or wider: a sum of squares overflows or vanishes in half precision.
    return float(torch.linalg.vector_norm(values, dtype=torch.promote_types(values.dtype, torch.float32)))
