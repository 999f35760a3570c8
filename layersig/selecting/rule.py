"""A control that selects by module type and depth alone, ignoring the identity of single layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import policy
from layersig.selecting.policies import protected

if TYPE_CHECKING:
    from layersig.selecting.context import SelectionContext


@policy("type-depth", rankings="one", version=2)
class TypeDepth:
    """As many units as another arm has, by a smooth fit to the ranking: a cubic in depth for every module type.

    If an arm is not better than this one, the identity of single layers does not matter. The fit is to the same
    ranking that the other arm reads.
    """

    class Params(ComponentParams):
        """Parameters of `type-depth`."""

        like: str
        """Name of the arm whose number of units is taken."""
        end: Literal["top", "lowest"] = "top"
        """Take the units with the highest fitted scores, or with the lowest, as for arms that prune."""
        protect: tuple[int, ...] = ()
        """Numbers of blocks that are never taken, as those of `lowest`; they are fitted all the same."""

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the units with the highest (or lowest) fitted scores; ties go to the earlier unit."""
        import numpy as np

        from layersig.analysis.identity import rounded, type_depth_fit

        assert context.like is not None, "the policy has a parameter `like`"
        chosen = set(context.like.layers)
        count = sum({layer.name for layer in group.members} <= chosen for group in context.groups)
        kinds = sorted({group.kind for group in context.groups})
        types = np.array([kinds.index(group.kind) for group in context.groups])
        last = max(group.block for group in context.groups if group.block is not None)
        depths = np.array([last + 1 if group.block is None else group.block for group in context.groups])
        scores = np.array([context.ranking.scores[group.name] for group in context.groups])
        fitted = rounded(type_depth_fit(scores, types, depths), scores)
        sign = -1 if context.params.end == "top" else 1
        order = np.argsort(sign * fitted, kind="stable")
        kept = protected(context.groups, context.params.protect)
        free = [name for place in order if (name := context.groups[place].name) not in kept]
        if count > len(free):
            raise UserError(
                f"select: {context.params.like} has {count} units, and `protect` leaves {len(free)}; protect fewer "
                "blocks"
            )
        return free[:count]
