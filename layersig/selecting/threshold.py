"""Selection by the score itself instead of by rank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import policy

if TYPE_CHECKING:
    from layersig.selecting.context import SelectionContext


@policy("threshold", rankings="one", version=1)
class Threshold:
    """Every unit whose score is greater than a number, however many that are.

    LS-LoRA (arXiv 2610.11620, main text read) adapts the blocks whose mean cosine is below gamma = 0.85: of
    `block-influence` with `tokens = "prompt"`, those above 0.15. The number of layers then depends on the model, the
    data and the seed, so that a comparison at equal budget needs controls that are matched to each selection.
    """

    class Params(ComponentParams):
        """Parameters of `threshold`."""

        above: float
        """Take the units that score more than this."""

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the chosen units."""
        scores, above = context.ranking.scores, context.params.above
        chosen = [name for name, score in scores.items() if score > above]
        if not chosen:
            raise UserError(
                f"select.above: no unit scores more than {above:g}; the highest score is {max(scores.values()):.6g}, "
                f"and {min(scores.values()):.6g} the lowest"
            )
        return chosen
