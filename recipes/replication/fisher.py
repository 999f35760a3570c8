"""Empirical Fisher information of each layer, and how much of it an update moves through.

With g_x the gradient of the log-likelihood of one example (summed over its target tokens), the diagonal of the
empirical Fisher information is F = E_x[g_x^2], entry by entry. It takes the gradient of each example: the square of a
batch's mean gradient is another quantity, which vanishes at an optimum. And it takes the labels of the data: the true
Fisher information would draw them from the model (Kunstner et al., arXiv 1905.12558, tell the two apart). Under an
objective of pairs an example is a pair, and its log-likelihood is minus its loss: that of the preference, under `dpo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig import Params as ComponentParams
from layersig import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext

__all__ = ["Fisher", "FisherChange"]

LAYERSIG_API = ">=1.0,<2"


class _Params(ComponentParams):
    examples: Annotated[int, Field(ge=1)] = 64
    """Training examples to average over: one forward and backward pass each."""


@scorer("fisher", needs={"model", "data", "gradients"}, version=3)
class Fisher:
    """Trace of the empirical Fisher information of each unit's weights: sum of E_x[g_x^2] over them.

    How strongly the likelihood of answers depends on the unit, at the pretrained weights. Larger units have more terms.
    """

    Params = _Params

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Trace of every unit."""
        return _mean_square(context, lambda _, gradient: gradient)


@scorer("fisher-change", needs={"model", "data", "gradients", "update"}, version=3)
class FisherChange:
    """Fisher-weighted size of each unit's update: sum of E_x[g_x^2] Delta^2 over its weights.

    The penalty of elastic weight consolidation (Kirkpatrick et al., arXiv 1612.00796, equation 3, without lambda / 2)
    for the change that training made: large where it moved weights that the likelihood of answers depends on.
    """

    Params = _Params

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Weighted size of every unit's update."""

        def times_change(layer: str, gradient: Tensor) -> Tensor:
            return gradient * context.update.delta(layer).dense().to(gradient.device)

        return _mean_square(context, times_change)


def _mean_square(context: ScoringContext, of: Callable[[str, Tensor], Tensor]) -> dict[str, float]:
    """Mean over examples of the sum of squares of `of(layer, g_x)`, by unit."""
    import torch

    examples = context.draw(context.params.examples)
    # The training loss is a mean over target tokens, or over pairs; the log-likelihood of an example is their sum.
    weights = context.learnt.weights

    def value(number: int, layer: str, gradient: Tensor) -> float:
        given = of(layer, gradient)
        norm = float(torch.linalg.vector_norm(given, dtype=torch.promote_types(given.dtype, torch.float32)))
        return (int(weights[examples[number]]) * norm) ** 2

    totals = dict.fromkeys(context.layers, 0.0)
    for found in context.gradient_values([(index,) for index in examples], value):
        for layer, square in found.items():
            totals[context.unit_of[layer]] += square / len(examples)
    return totals
