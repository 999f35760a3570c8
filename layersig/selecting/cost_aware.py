"""Selection of the layers that are worth most for what training them costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import policy
from layersig.selecting.costs import Costs, Rates
from layersig.selecting.knapsack import Level, best

if TYPE_CHECKING:
    from layersig.layers import Group
    from layersig.records import Ranking
    from layersig.selecting.context import SelectionContext

_GRID = 2**40
"""The highest score in whole numbers: exact in sums, and finer than any score is known."""
Seconds = Annotated[float, Field(gt=0)]


@policy("cost-aware", rankings="one", costs=True, version=1)
class CostAware:
    """The units with the greatest sum of scores within a budget of time, memory or trained parameters.

    Gradients go back to the lowest chosen block and no further, so a low layer makes every step dearer and others are
    taken only if it is worth that. For every lowest block the best set above it is found, and of these the best is
    taken: an exact knapsack, without approximation; of equally good sets, the cheapest. The set is never dearer than as
    many units of `top`: if those were within the budget, they would have been taken.

    Costs are counted from shapes (`layersig.selecting.costs`), for the tuning method, rank and optimizer of the arm, so
    that a recipe gives the same layers on every machine. With `rates` the same counts are weighed by what a machine
    was measured to take, and the numbers in the recipe keep it reproducible.

    The idea that selecting by gradients keeps low blocks and hence saves little is from arXiv 2609.16537 (appendix
    read); the rule is ours.
    """

    class Params(ComponentParams):
        """Parameters of `cost-aware`."""

        share: Annotated[float, Field(gt=0, le=1)]
        """The budget, as a share of what training all units takes."""
        of: Literal["time", "memory", "parameters"] = "time"
        """What is limited: operations of a training step, bytes that training adds to the model, or trained values."""
        worth: Literal["score", "place"] = "score"
        """What a unit is worth: its score, which must not be negative, or its place in the ranking: 1 for the last
        unit, 2 for the one before it, and so on."""
        rates: tuple[Seconds, Seconds, Seconds] | None = None
        """Seconds of a token that is only read, that is trained on without an adapter, and with one on every layer:
        what `layersig plan --json` calls `read`, `plain` and `train` in `speed`. With `of = "time"`. Absent: operations
        are counted."""

        @model_validator(mode="after")
        def _rates(self) -> Self:
            if self.rates is not None and not (self.of == "time" and self.rates[0] < self.rates[1] < self.rates[2]):
                raise ValueError('`rates` go with of = "time" and must rise: read, plain, train')
            return self

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the chosen units."""
        params, groups = context.params, context.groups
        costs = self._costs(context)
        budget = params.share * costs.everything
        worth = _worth(context.ranking, by_place=params.worth == "place")
        blocks: dict[int, list[Group]] = {}
        for group in reversed(groups):
            blocks.setdefault(costs.cut(group), []).append(group)
        order = sorted(blocks, reverse=True)
        found = best(
            [
                Level(
                    [worth[group.name] for group in blocks[block]],
                    [costs.own[group.name] for group in blocks[block]],
                    (budget - costs.reached[block]) / costs.each,
                )
                for block in order
            ]
        )
        if found is None:
            least = min(costs.of([group]) for group in groups if worth[group.name] > 0) / costs.everything
            raise UserError(
                f"select.share: {params.share:g} of the {params.of} of all layers is too little for any one of them; "
                f"the least that trains one with a score is {least:.3g}"
            )
        things = [group for block in order for group in blocks[block]]
        return [things[number].name for number in found.taken]

    @staticmethod
    def _costs(context: SelectionContext) -> Costs:
        arithmetic, params = context.arithmetic, context.params
        assert arithmetic is not None, "the policy reads costs"
        if params.rates is not None:
            return arithmetic.seconds(Rates(*params.rates))
        found: Costs = getattr(arithmetic, params.of)
        return found


def _worth(ranking: Ranking, *, by_place: bool) -> Mapping[str, int]:
    """What every unit is worth, in whole numbers."""
    if by_place:
        return {name: place for place, name in enumerate(reversed(ranking.ordered()), start=1)}
    lowest, highest = min(ranking.scores.values()), max(ranking.scores.values())
    if lowest < 0 or highest == 0:
        name = min(ranking.scores, key=ranking.scores.__getitem__)
        raise UserError(
            f'select.worth: policy "cost-aware" adds scores up, and {name} scores {lowest:g}; take a scorer without '
            'negative scores, of which some are not 0, or worth = "place"'
        )
    return {name: round(score / highest * _GRID) for name, score in ranking.scores.items()}
