"""Direct preference optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.objectives.base import PairObjective, smoothed
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import objective

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.data.pairs import Scored


@objective("dpo", reads={"pairs", "reference"}, version=1)
class Dpo(PairObjective):
    """Direct preference optimisation (Rafailov et al., arXiv 2305.18290) against the untouched model.

    With log-probabilities log p of a response under the model, and log p0 under the untouched one, the margin is
    m = beta ((log p - log p0) of the chosen response - (log p - log p0) of the rejected one), and the loss is
    -log sigmoid(m).
    """

    class Params(ComponentParams):
        """Parameters of `dpo`."""

        beta: Annotated[float, Field(gt=0)] = 0.1
        """Scale of the margin (TRL's default): the larger, the closer the model is kept to the untouched one."""
        label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
        """Assumed share of pairs whose labels are exchanged (conservative DPO)."""
        per_token: bool = False
        """Divide the log-probability of each response by its number of tokens, so that length counts for nothing; it
        wants a `beta` that is larger by about that number."""

    def margin(self, params: Params, pairs: Scored) -> Tensor:
        """Difference of the log-ratios, times beta."""
        chosen, rejected = pairs.chosen - pairs.chosen_before, pairs.rejected - pairs.rejected_before
        if params.per_token:
            chosen, rejected = chosen / pairs.chosen_tokens, rejected / pairs.rejected_tokens
        return params.beta * (chosen - rejected)

    def loss(self, params: Params, margin: Tensor) -> Tensor:
        """Cross entropy of the margin."""
        return smoothed(margin, params.label_smoothing)
