"""How strongly a layer responds to its inputs, next to what it would do to random ones: the layer scores of PLoP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig import Params as ComponentParams
from layersig import scorer
from layersig.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext

__all__ = ["FeatureNorm"]

LAYERSIG_API = ">=1.0,<2"


@scorer("feature-norm", needs={"model", "data"}, version=1)
class FeatureNorm:
    """Minus the normalised feature norm of each unit: NFN = mean over tokens of |W z| sqrt(d_in) / (|W| |z|).

    PLoP (Hayou et al., arXiv 2506.20629; its code was read) adapts the three module types with the lowest NFN = |W z| /
    |W z~|, z~ Gaussian with the norm of z: take the policy `types`. Deviations: |W z~| is replaced by the root of its
    mean square, |W| |z| / sqrt(d_in), which takes no random numbers; padding tokens do not count, which they do in the
    code; inputs are training examples with their answers, where the paper has prompts. A unit of several layers has the
    mean of theirs. NFN is 1 for random weights, whatever the inputs.
    """

    class Params(ComponentParams):
        """Parameters of `feature-norm`."""

        examples: Annotated[int, Field(ge=1)] = 100
        """Training examples to read inputs from: one forward pass each."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Minus the norm of every unit."""

        def responses(layer: str, inputs: Tensor, outputs: Tensor) -> tuple[float, int]:
            """Sum of |W z| / |z| over tokens whose input is not 0, and their number."""
            bias = context.model.get_submodule(layer).bias
            lengths = _norms(inputs)
            made = _norms(outputs if bias is None else outputs - bias)
            kept = lengths > 0
            return float((made[kept] / lengths[kept]).sum()), int(kept.sum())

        totals: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        for found in context.layer_inputs(context.draw(context.params.examples), responses):
            for layer, (total, count) in found.items():
                totals[layer] += total
                counts[layer] += count
        if dead := [layer for layer in totals if not counts[layer]]:
            raise UserError(f"{context.label}: all inputs of {dead[0]} are zero")
        weights = {layer: context.weight(layer) for layer in totals}
        sizes = {layer: float(_norms(weight.reshape(1, -1))) for layer, weight in weights.items()}
        if empty := [layer for layer, size in sizes.items() if not size]:
            raise UserError(
                f"{context.label}: the weight of {empty[0]} is zero, so that it responds neither to its inputs nor to "
                "random ones; take a scorer that does not divide by the weight"
            )
        norms = {
            layer: total / counts[layer] * weights[layer].shape[-1] ** 0.5 / sizes[layer]
            for layer, total in totals.items()
        }
        return {group.name: -fmean(norms[layer.name] for layer in group.members) for group in context.groups}


def _norms(rows: Tensor) -> Tensor:
    """Norm of every row, in float64."""
    import torch

    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
