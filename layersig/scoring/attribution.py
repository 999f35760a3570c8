"""How much of the change in loss each layer's update accounts for, from gradients of gates alone.

With gates gamma on the update, the loss has the slope dL/dgamma_i = <grad_i L(theta_0 + gamma * Delta), Delta_i>.
No gradient of a weight is ever made, so quantised models and large ones will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext


@scorer("update-taylor", needs={"model", "data", "update", "gradients"}, version=1)
class UpdateTaylor:
    """First-order reduction of the loss by each layer's update, from the gradient at the pretrained model.

    The score is -<grad_i L(theta_0), Delta_i>.
    The first-order Taylor importance of Molchanov et al. (arXiv 1906.10771) with the update in place of the
    weight, and with its sign: an update along which the loss rises scores below zero.
    """

    class Params(ComponentParams):
        """Parameters of `update-taylor`."""

        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches to average over: one forward and backward pass each."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """First-order gain of every unit, in nats per target token."""
        batches = context.optimizer_batches(context.params.batches)
        gates = _gates(context)
        with context.gated(lambda: gates):
            return _named(context, -_slopes(context, gates, batches))


@scorer("path-attribution", needs={"model", "data", "update", "gradients"}, version=1)
class PathAttribution:
    """Each layer's share of the reduction in loss, integrated along the path from no update to the whole update.

    The share is a_i = -int_0^1 <grad_i L(theta_0 + u Delta), Delta_i> du.
    Integrated gradients (Sundararajan et al., arXiv 1703.01365, section 3) over gates that open together, instead of
    over inputs. The integral is taken by Gauss-Legendre quadrature. Shares are complete,
    sum_i a_i = L(theta_0) - L(theta_0 + Delta), up to quadrature and rounding; the trajectory keeps both sides, and a
    warning tells when they differ by more than the tolerance. In bfloat16 they may differ by more than a tenth however
    many nodes there are: the update's part of an output is rounded away with it, which a gradient does not see.
    """

    class Params(ComponentParams):
        """Parameters of `path-attribution`."""

        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches to average over. Cost: `batches` x `nodes` forward and backward passes."""
        nodes: Annotated[int, Field(ge=1)] = 5
        """Points on the path; n are exact for slopes that are polynomials of degree 2 n - 1."""
        tolerance: Annotated[float, Field(gt=0)] = 0.05
        """Largest gap in completeness that goes without a warning, as a share of sum_i |a_i|."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Share of every unit, in nats per target token."""
        import numpy as np
        import torch

        params: PathAttribution.Params = context.params
        batches = context.optimizer_batches(params.batches)
        gates = _gates(context)
        shares = torch.zeros(len(gates), dtype=torch.float64)
        points, weights = np.polynomial.legendre.leggauss(params.nodes)
        with context.gated(lambda: gates):
            # From [-1, 1], where the rule is tabulated, to [0, 1].
            for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
                gates.fill_(point)
                shares -= weight * _slopes(context, gates, batches)
            ends = []
            for end in (0.0, 1.0):
                gates.fill_(end)
                ends.append(fmean(context.losses(batches)))
        before, after = ends
        attributed, size = shares.sum().item(), shares.abs().sum().item()
        gap = before - after - attributed
        context.trajectory.append(
            {"loss_before": before, "loss_after": after, "attributed": attributed, "size": size, "gap": gap}
        )
        if abs(gap) > params.tolerance * size:
            context.reporter.warn(
                f"the shares of path-attribution add up to {attributed:.4g}, but the loss falls by "
                f"{before - after:.4g}: a gap of {abs(gap) / size if size else 1:.1%} of their size, above the "
                f"tolerance of {params.tolerance:.1%}; raise `nodes`, or compute in float32"
            )
        return _named(context, shares)


def _gates(context: ScoringContext) -> Tensor:
    import torch

    dtype = torch.promote_types(context.model.dtype, torch.float32)
    return torch.zeros(len(context.layers), dtype=dtype, device=context.device)


def _slopes(context: ScoringContext, gates: Tensor, batches: Sequence[Sequence[int]]) -> Tensor:
    """dL/dgamma at the gates as they are, (units,) in float64 on the CPU."""
    return context.gradients({"gates": gates}, batches)["gates"].cpu().double()


def _named(context: ScoringContext, values: Tensor) -> dict[str, float]:
    return dict(zip(context.layers, values.tolist(), strict=True))
