"""Random selections of the same budget as another arm's: the controls of a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from layersig.errors import UserError
from layersig.layers import Group
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import policy
from layersig.selecting.policies import protected

if TYPE_CHECKING:
    from layersig.selecting.context import SelectionContext


@policy("matched-random", rankings="none", version=1)
class MatchedRandom:
    """A random selection of the same budget as another arm's: as many units of each module type, by default.

    Units (of a type) stand in a random order that depends on `draw` and, unless it is `fixed`, on the seed only; the
    first k are taken, so that two controls with the same draw are nested. With equal counts by type the weights are
    equal too, and so is whatever a method trains. With `layers` only the number of units is. With `parameters` units
    are taken in their random order as long as they fit into the other arm's weights; those that do not fit are passed
    over.
    """

    class Params(ComponentParams):
        """Parameters of `matched-random`."""

        like: str
        """Name of the arm whose counts by module type are matched."""
        draw: Annotated[int, Field(ge=0)] = 0
        """Number of the random draw; give each control of a set its own."""
        fixed: bool | None = None
        """Whether the order is the same in every seed, as for the sets that an arm is ranked among; absent: no."""
        match: Literal["types", "layers", "parameters"] = "types"
        """What is equal: the counts by module type, the number of units, or (from below) the weights in them."""
        protect: tuple[int, ...] = ()
        """Numbers of blocks that are never drawn, as those of `lowest`."""

    seeded = True

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the drawn units."""
        assert context.like is not None, "the policy has a parameter `like`"
        chosen = set(context.like.layers)
        kept = [group for group in context.groups if {layer.name for layer in group.members} <= chosen]
        if context.params.match == "parameters":
            return self._within(context, sum(group.parameters for group in kept))
        if context.params.match == "layers":
            return self._drawn(context, self._free(context), "any type", len(kept))
        drawn: list[str] = []
        for kind, count in sorted(Counter(group.kind for group in kept).items()):
            units = [group for group in self._free(context) if group.kind == kind]
            drawn += self._drawn(context, units, kind, count)
        return drawn

    @classmethod
    def _drawn(cls, context: SelectionContext, units: Sequence[Group], name: str, count: int) -> list[str]:
        if count > len(units):
            raise UserError(
                f"select: {context.params.like} has {count} units of {name}, and {len(units)} are not protected here, "
                "so no control can match it; protect fewer blocks"
            )
        return [group.name for group in cls._shuffled(context, units, name)[:count]]

    @staticmethod
    def _free(context: SelectionContext) -> list[Group]:
        kept = protected(context.groups, context.params.protect)
        return [group for group in context.groups if group.name not in kept]

    @staticmethod
    def _shuffled(context: SelectionContext, units: Sequence[Group], name: str) -> list[Group]:
        streams = context.streams.without_seed() if context.params.fixed else context.streams
        order = streams.generator("matched-random", context.params.draw, name).permutation(len(units))
        return [units[index] for index in order]

    def _within(self, context: SelectionContext, budget: int) -> list[str]:
        drawn: list[str] = []
        for group in self._shuffled(context, self._free(context), "any type"):
            if group.parameters <= budget:
                drawn.append(group.name)
                budget -= group.parameters
        return drawn
