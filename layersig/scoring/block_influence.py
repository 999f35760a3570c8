"""Block influence and angular distance: how far blocks turn the hidden state. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
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
    """Block influence: 1 - cosine of the hidden states before and after a block, averaged over tokens.

    BI_i = 1 - E[x_i . x_{i+1} / (|x_i| |x_{i+1}|)], ShortGPT (Men et al., arXiv 2403.03853, section 2.2). Deviations
    from its published code: a mean over tokens, not a sum; padding does not count; the last block's output is taken
    before the final norm. Greater means more important; pruning takes the lowest.

    With `tokens = "prompt"` it is 1 - s_i of LS-LoRA (arXiv 2610.11620; main text read, no code found): s_i is the mean
    cosine at the last token of the prompt, and blocks with s_i < gamma are adapted, which is the policy `threshold`
    with `above` = 1 - gamma. That it foresees Fisher information is a claim of the paper; a public test on another
    model did not find it. Deviation: the prompt is that of a training example, up to its first answer.
    """

    class Params(SelectionParams):
        """Parameters of `block-influence`."""

        later = frozenset({"tokens"})

        mean: Literal["tokens", "examples"] = "tokens"
        """Average over all tokens alike, or within each example first (as arXiv 2602.01997 does). With one token for
        each example both are the same."""
        tokens: Literal["all", "last", "prompt"] = "all"
        """All tokens, the last one of every example, or the last one before its first answer (LS-LoRA)."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Block influence of every block."""
        from layersig.models.devices import wide
        from layersig.scoring.block_states import States, cosines, means

        params, depth = context.params, len(blocks_only(context))
        alike = params.tokens != "all" or params.mean == "tokens"

        def sums(states: States) -> tuple[int, list[float]]:
            rows = slice(None) if params.tokens == "all" else states.rows(params.tokens)
            pairs = pairwise(states.boundaries)
            found = [cosines(before[rows], after[rows]) for before, after in pairs]
            sizes = [float(wide(each).sum() if alike else means(each, states.lengths).sum()) for each in found]
            return len(states.boundaries[0][rows]) if alike else len(states.lengths), sizes

        total, count = [0.0] * depth, 0
        for number, sizes in context.measured_states(drawn(context), sums):
            count += number
            total = [one + other for one, other in zip(total, sizes, strict=True)]
        return {name: 1.0 - total[place] / count for place, name in enumerate(context.layers)}


@scorer("angular-distance", needs={"model", "data"}, unit="block", version=1)
class AngularDistance:
    """Angular distance over runs of `span` blocks: the angle between the states before and after a run, over pi.

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
        from layersig.scoring.block_states import States, cosines, means

        depth, span = len(blocks_only(context)), context.params.span
        if span >= depth:
            raise UserError(f"angular-distance: span = {span}, and the model has {depth} blocks; take a shorter run")

        def angles(states: States, place: int) -> Tensor:
            pair = states.boundaries[place], states.boundaries[place + span]
            if context.params.tokens == "all":
                return means(torch.arccos(cosines(*pair)), states.lengths)
            ends = states.rows("last")
            return torch.arccos(cosines(pair[0][ends], pair[1][ends]))

        def sums(states: States) -> tuple[int, list[float]]:
            sizes = [float(wide(angles(states, place)).sum()) / math.pi for place in range(depth - span + 1)]
            return len(states.lengths), sizes

        distances, count = [0.0] * (depth - span + 1), 0
        for number, sizes in context.measured_states(drawn(context), sums):
            count += number
            distances = [one + other for one, other in zip(distances, sizes, strict=True)]
        return {
            name: min(distances[max(0, place - span + 1) : place + 1]) / count
            for place, name in enumerate(context.layers)
        }
