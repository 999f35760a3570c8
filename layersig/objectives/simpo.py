"""Preference optimisation without a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.objectives.base import PairObjective, smoothed
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import objective

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.data.pairs import Scored


@objective("simpo", reads={"pairs"}, version=1)
class SimPo(PairObjective):
    """SimPO (Meng et al., arXiv 2405.14734): no reference model, log-probabilities per token, and a target margin.

    The margin is m = beta (log p of the chosen response per token - that of the rejected one), and the loss is
    -log sigmoid(m - gamma).
    """

    class Params(ComponentParams):
        """Parameters of `simpo`."""

        beta: Annotated[float, Field(gt=0)] = 2.0
        """Scale of the margin (paper: 2.0 to 2.5)."""
        gamma: Annotated[float, Field(ge=0)] = 1.0
        """Margin that is aimed at (paper: 0.3 to 1.6)."""
        label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
        """Assumed share of pairs whose labels are exchanged."""

    def margin(self, params: Params, pairs: Scored) -> Tensor:
        """Difference of the log-probabilities per token, times beta."""
        chosen, rejected = pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens
        return params.beta * (chosen - rejected)

    def loss(self, params: Params, margin: Tensor) -> Tensor:
        """Cross entropy of the margin beyond gamma."""
        return smoothed(margin - params.gamma, params.label_smoothing)
