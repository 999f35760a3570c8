"""Block influence and angular distance: how far blocks turn the hidden state. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.decorators import scorer
from layersig.scoring.selection_data import SelectionParams, blocks_only, drawn

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext


@scorer("block-influence", needs={"model", "data"}, unit="block", version=1)
class BlockInfluence:
    """Block influence: 1 - cosine of the hidden states before and behind a block, averaged over tokens.

    BI_i = 1 - E[x_i . x_{i+1} / (|x_i| |x_{i+1}|)], ShortGPT (Men et al., arXiv 2403.03853, section 2.2). Deviations
    from its published code: a mean over tokens, not a sum; padding does not count; the last block's output is taken
    before the final norm. Greater means more important; pruning takes the lowest.
    """

    class Params(SelectionParams):
        """Parameters of `block-influence`."""

        mean: Literal["tokens", "examples"] = "tokens"
        """Average over all tokens alike, or within each example first (as arXiv 2602.01997 does)."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Block influence of every block."""
        from layersig.models.devices import wide
        from layersig.scoring.block_states import States, cosines, means, measured_states

        depth = len(blocks_only(context))
        by_token = context.params.mean == "tokens"

        def sums(found: States) -> tuple[int, list[float]]:
            states, lengths = found
            pairs = (cosines(states[place], states[place + 1]) for place in range(depth))
            sizes = [float(wide(each).sum() if by_token else means(each, lengths).sum()) for each in pairs]
            return sum(lengths) if by_token else len(lengths), sizes

        total, count = [0.0] * depth, 0
        for number, sizes in measured_states(context, drawn(context), sums):
            count += number
            total = [one + other for one, other in zip(total, sizes, strict=True)]
        return {name: 1.0 - total[place] / count for place, name in enumerate(context.layers)}


@scorer("angular-distance", needs={"model", "data"}, unit="block", version=1)
class AngularDistance:
    """Angular distance over runs of `span` blocks: the angle between the states before and behind a run, over pi.

    d(l, n) = (1 / pi) arccos cos(x_l, x_{l+n}) at the last token of every example, averaged (Gromov et al.,
    arXiv 2403.17887, section 3.2). A block scores the smallest distance of any run that it belongs to, so the `span`
    lowest blocks are exactly the run that the paper drops. The last block's output is taken before the final norm.
    """

    class Params(SelectionParams):
        """Parameters of `angular-distance`."""

        span: Annotated[int, Field(ge=1)] = 1
        """Length n of the runs: the number of blocks to be dropped together."""
        tokens: Literal["last", "all"] = "last"
        """The last token of every example (the paper), or the mean over all of its tokens."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Smallest distance of any run around each block."""
        import math

        import torch

        from layersig.models.devices import wide
        from layersig.scoring.block_states import States, cosines, means, measured_states

        depth, span = len(blocks_only(context)), context.params.span
        if span >= depth:
            raise UserError(f"angular-distance: span = {span}, and the model has {depth} blocks; take a shorter run")

        def angles(found: States, place: int) -> Tensor:
            states, lengths = found
            pair = states[place], states[place + span]
            if context.params.tokens == "all":
                return means(torch.arccos(cosines(*pair)), lengths)
            ends = torch.tensor(lengths, device=states[0].device).cumsum(0) - 1
            return torch.arccos(cosines(pair[0][ends], pair[1][ends]))

        def sums(found: States) -> tuple[int, list[float]]:
            sizes = [float(wide(angles(found, place)).sum()) / math.pi for place in range(depth - span + 1)]
            return len(found.lengths), sizes

        distances, count = [0.0] * (depth - span + 1), 0
        for number, sizes in measured_states(context, drawn(context), sums):
            count += number
            distances = [one + other for one, other in zip(distances, sizes, strict=True)]
        return {
            name: min(distances[max(0, place - span + 1) : place + 1]) / count
            for place, name in enumerate(context.layers)
        }
