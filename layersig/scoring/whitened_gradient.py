"""Gradient norm where a layer's inputs are white: how much of the loss a linear change can remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer
from layersig.training.footprint import portions

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.layers import Layer
    from layersig.scoring.context import ScoringContext


@scorer("whitened-gradient", needs={"model", "data", "gradients"}, version=2)
class WhitenedGradient:
    """Gradient norm of a layer with whitened inputs: how far a step can reduce the loss, not how steep the loss is.

    sqrt tr(G (S + lambda I)^-1 G'), with G the gradient of a layer and S = E[h h'] the covariance of its inputs h.
    With half the squared error of a linear layer as the loss, its square is twice what the best change of the weights
    takes off the loss.
    A gradient norm asks how steep the loss is; this one how far down the step leads, because directions that inputs use
    little are cheap to move along. A unit of several layers has the root of the sum of squares.

    Derived here. It reconstructs resnorm of "Layer card" (arXiv 2602.04019), of which the abstract and a note were
    read: it is said to be a normalised gradient norm for squared loss and linear adapters. Neither its formula nor code
    was seen, and lambda is ours. S is taken over all tokens and G over targets; under an objective of pairs, S is that
    of the chosen responses. With the scores go the trace and the condition number of every S, in the trajectory.
    """

    class Params(ComponentParams):
        """Parameters of `whitened-gradient`."""

        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches to average over: a forward pass, and a forward and backward pass each; as often as it takes
        to hold covariances of 4 GiB at a time."""
        ridge: Annotated[float, Field(gt=0)] = 1e-3
        """Lambda as a share of the mean square of an input."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Root of the whitened energy of every unit."""
        from layersig.models.devices import wide

        energies: dict[str, float] = {}
        members = [layer for group in context.groups for layer in group.members]
        for layers in ([layer.name for layer in portion] for portion in portions(members, _bytes)):
            covariances = _covariances(context, layers)
            batches = context.optimizer_batches(context.params.batches)
            gradients = context.mean_gradients(batches, layers=layers)
            for name, covariance in covariances.items():
                values, vectors = _eigen(covariance)
                smoothed = values + context.params.ridge * values.mean()
                turned = wide(gradients[name]) @ vectors
                dead = not values.any()  # inputs that are all 0 have no gradient either
                energies[name] = 0.0 if dead else float((turned.square().sum(0) / smoothed).sum())
                condition = 1.0 if dead else float(smoothed.max() / smoothed.min())
                context.trajectory.append({"layer": name, "energy": float(values.sum()), "condition": condition})
        return {group.name: sum(energies[each.name] for each in group.members) ** 0.5 for group in context.groups}


def _bytes(layer: Layer) -> int:
    return 8 * layer.shape[-1] ** 2 + 4 * layer.parameters


def _covariances(context: ScoringContext, layers: list[str]) -> dict[str, Tensor]:
    """Mean of h h' over the tokens of all examples, [in, in] in float64."""
    from itertools import chain

    from layersig.models.devices import wide

    def squares(_: str, inputs: Tensor, __: Tensor) -> tuple[Tensor, int]:
        rows = wide(inputs)
        return rows.mT @ rows, len(rows)

    chosen = sorted(set(chain(*context.optimizer_batches(context.params.batches))))
    totals: dict[str, Tensor] = {}
    tokens = dict.fromkeys(layers, 0)
    for found in context.layer_inputs(chosen, squares, layers=layers):
        for name, (total, count) in found.items():
            totals[name] = totals[name] + total if name in totals else total
            tokens[name] += count
    return {name: total / tokens[name] for name, total in totals.items()}


def _eigen(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, none below 0, and eigenvectors."""
    import torch

    values, vectors = torch.linalg.eigh(covariance)
    return values.clamp(min=0.0), vectors
