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


@scorer("gradient-norm", needs={"model", "data", "gradients"}, version=1)
class GradientNorm:
    """Frobenius norm of the gradient of the training loss, averaged over batches.

    The norm is taken for each optimizer batch and then averaged, as in surgical fine-tuning (Lee et al., arXiv
    2210.11466, section 5, there divided by the norm of the weights). A unit of several layers has the norm of all of
    them together.
    """

    class Params(ComponentParams):
        """Parameters of `gradient-norm`."""

        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches to average over: one forward and backward pass each."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Mean norm of every unit."""
        import torch

        count = context.params.batches
        unit_of = {layer.name: group.name for group in context.groups for layer in group.members}
        squares: dict[str, list[float]] = defaultdict(lambda: [0.0] * count)

        def visit(batch: int, layer: str, gradient: Tensor) -> None:
            # The norm is accumulated in float32: a sum of squares overflows or vanishes in half precision.
            wide = torch.promote_types(gradient.dtype, torch.float32)
            squares[unit_of[layer]][batch] += float(torch.linalg.vector_norm(gradient, dtype=wide)) ** 2

        context.visit_gradients(context.optimizer_batches(count), visit)
        return {name: sum(value**0.5 for value in squares[name]) / count for name in context.layers}
