"""The shape of each layer's update: over how many directions it spreads, and how far it reaches in the longest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.models.updates import Delta
    from layersig.scoring.context import ScoringContext


@scorer("spectral", needs={"update"}, version=2)
class Spectral:
    """Stable rank, effective rank or spectral norm of each unit's update, by its singular values s.

    Stable rank sum s^2 / max s^2 (Rudelson and Vershynin, arXiv math/0503442), effective rank exp(-sum p ln p) with
    p = s / sum s (Roy and Vetterli, "The effective rank", EUSIPCO 2007), spectral norm max s. Those of B A come from
    r x r matrices: with B = Q R and A' = P S, the singular values of B A are those of R S'. A unit of several layers or
    experts has the singular values of all of them. An update of zeros scores 0.
    """

    class Params(ComponentParams):
        """Parameters of `spectral`."""

        measure: Literal["stable-rank", "effective-rank", "spectral-norm"] = "stable-rank"
        """Which figure is the score."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """The figure of every unit."""
        import torch

        measure, values = {
            "stable-rank": (_stable_rank, squared_singular_values),
            "effective-rank": (_effective_rank, singular_values),
            "spectral-norm": (_spectral_norm, squared_singular_values),
        }[context.params.measure]
        return {
            group.name: measure(
                torch.cat([values(context.update.delta(each.name).near(context.device)) for each in group.members])
            )
            for group in context.groups
        }


def singular_values(delta: Delta) -> Tensor:
    """Singular values of a change, of all its experts together where it has some; float64, without order.

    Of a dense change one matrix at a time is in memory in float64.
    """
    import torch

    from layersig.models.devices import wide

    if delta.a is None:
        matrices = delta.b if delta.b.ndim > 2 else delta.b.unsqueeze(0)
        values = torch.stack([torch.linalg.svdvals(wide(matrix)) for matrix in matrices])
    else:
        left, right = wide(delta.b), wide(delta.a).mT
        values = torch.linalg.svdvals(torch.linalg.qr(left).R @ torch.linalg.qr(right).R.mT)
    return abs(delta.scale) * values.flatten()


def squared_singular_values(delta: Delta) -> Tensor:
    """Squares of `singular_values`, to within rounding of the largest: those of a dense change from w w'.

    Their sum and the largest of them are as exact as from the singular values, in a tenth of the time.
    """
    import torch

    from layersig.models.devices import wide

    if delta.a is not None:
        return singular_values(delta).square()
    found = []
    for matrix in delta.b if delta.b.ndim > 2 else delta.b.unsqueeze(0):
        rows = wide(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT)
        found.append(torch.linalg.eigvalsh(rows @ rows.mT).clamp(min=0))
    return delta.scale**2 * torch.cat(found)


def _stable_rank(squares: Tensor) -> float:
    largest = squares.max()
    return (squares / largest).sum().item() if largest > 0 else 0.0


def _effective_rank(values: Tensor) -> float:
    import torch

    total = values.sum()
    return math.exp(torch.special.entr(values / total).sum().item()) if total > 0 else 0.0


def _spectral_norm(squares: Tensor) -> float:
    return math.sqrt(squares.max().item())
