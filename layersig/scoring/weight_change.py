"""How far each layer moved: the size of its update, whatever the update does to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


@scorer("weight-change", needs={"model", "update"}, version=1)
class WeightChange:
    """How far training moved the weights of each unit: the Frobenius norm of its update, absolute, relative or RMS.

    |Delta_i|, |Delta_i| / |W_i|, or |Delta_i| / sqrt(parameters). Also called plasticity. Of factors, |BA|^2 =
    tr((B'B)(AA')) needs r x r products alone. A unit of several layers counts as one long vector. Module types differ
    in size and shape, which by itself makes absolute norms agree between any two trainings: `relative` and `rms` take
    out the first of that.
    """

    class Params(ComponentParams):
        """Parameters of `weight-change`."""

        measure: Literal["absolute", "relative", "rms"] = "absolute"
        """`relative`: over the norm of the pretrained weight. `rms`: root mean square over the unit's weights."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Size of every unit's update."""
        measure: str = context.params.measure
        scores = {}
        for group in context.groups:
            score = sum(context.update.norm(layer.name) ** 2 for layer in group.members) ** 0.5
            if measure == "relative":
                score = context.beside_weight(group.name, score)
            elif measure == "rms":
                score /= group.parameters**0.5
            scores[group.name] = score
        return scores
