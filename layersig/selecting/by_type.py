"""Selection of all layers of some module types."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import policy

if TYPE_CHECKING:
    from layersig.selecting.context import SelectionContext


@policy("types", rankings="one", version=1)
class Types:
    """All units of the module types with the highest mean score; equal means go to the type that comes first.

    PLoP (arXiv 2506.20629, code read) adapts the three types with the lowest feature norm. There are only 35 ways to
    take three of seven types; arms with the policy `list` can try them all.
    """

    class Params(ComponentParams):
        """Parameters of `types`."""

        count: Annotated[int, Field(ge=1)] = 3
        """Number of module types to take."""

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the units of the chosen types."""
        scores: dict[str, list[float]] = {}
        for group in context.groups:
            scores.setdefault(group.kind, []).append(context.ranking.scores[group.name])
        count = context.params.count
        if count > len(scores):
            raise UserError(f"select.count: {count} types are to be taken, and there are {len(scores)}")
        means = {kind: fmean(values) for kind, values in scores.items()}
        chosen = sorted(means, key=lambda kind: -means[kind])[:count]
        return [group.name for group in context.groups if group.kind in chosen]
