"""Greedy search: remove one block after another, each time the one that is missed least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.decorators import scorer
from layersig.scoring.selection_data import TaskParams, blocks_only, drawn

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


@scorer("greedy", needs={"model", "data", "tasks"}, unit="block", version=3)
class Greedy:
    """Order of removal in a greedy search: in every round each remaining block is tried, and the best loss goes.

    The candidate goes without which the model has the highest value: minus the loss on training data, or the mean
    normalised retention on tasks (arXiv 2602.01997, "iterative"). A block removed in round r scores r, one that stays
    `remove` + 1, so `lowest` with the same count takes exactly the blocks that were removed. Of equal candidates the
    later block goes, as in the paper.
    """

    class Params(TaskParams):
        """Parameters of `greedy`."""

        remove: Annotated[int, Field(ge=1)]
        """Blocks to remove, one a round. Cost: as many sweeps of all remaining blocks."""
        protect: tuple[int, ...] = (0,)
        """Numbers of blocks that are never tried, from 0; negative ones count from the end. The paper: the first."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """The round in which each block went."""
        names, params = blocks_only(context), context.params
        kept = _protected(params.protect, len(names))
        if params.remove > len(names) - len(kept):
            raise UserError(
                f"greedy: remove = {params.remove}, and {len(names) - len(kept)} blocks are not protected; remove fewer"
            )
        values = _Values(context, [place for place in range(len(names)) if place not in kept])
        removed: list[int] = []
        while len(removed) < params.remove:
            tried = dict(values.of(removed, [place for place in range(len(names)) if place not in kept | set(removed)]))
            best = max(tried, key=lambda place: (tried[place], place))
            removed.append(best)
            row = {"round": len(removed), "block": best, "value": tried[best], "removed": names[best]}
            context.trajectory.append(row)
        rank = {place: number for number, place in enumerate(removed, start=1)}
        return {name: float(rank.get(place, params.remove + 1)) for place, name in enumerate(names)}


class _Values:
    """The value of a model without some blocks: higher is better."""

    def __init__(self, context: ScoringContext, candidates: list[int]) -> None:
        from layersig.scoring.retention import Retention

        self._context = context
        self._retention = Retention(context, candidates) if context.params.tasks else None

    def of(self, removed: list[int], candidates: list[int]) -> Iterator[tuple[int, float]]:
        """Each candidate with the value of the model without it and what is removed already."""
        from layersig.scoring.sweep import sweep

        if self._retention is not None:
            for place in candidates:
                yield place, self._retention.without([*removed, place])
            return
        swept = sweep(self._context, drawn(self._context), candidates, removed=removed)
        for place, loss in swept.without.items():
            yield place, -loss


def _protected(numbers: tuple[int, ...], depth: int) -> set[int]:
    strange = [number for number in numbers if not -depth <= number < depth]
    if strange:
        raise UserError(f"greedy: protect names block {strange[0]}; the model has blocks 0 to {depth - 1}")
    return {number % depth for number in numbers}
