"""The built-in policies. Each returns names of units; the stage turns them into layers in model order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from layersig.errors import UserError
from layersig.layers import Group
from layersig.plugin.components import Params
from layersig.plugin.decorators import policy
from layersig.records import Ranking

if TYPE_CHECKING:
    from layersig.selecting.context import SelectionContext

Rounding = Literal["nearest", "floor", "ceil"]


class FractionParams(Params):
    """A share of the units, by rank."""

    fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of the units to take from the top of the ranking."""
    rounding: Rounding = "nearest"
    """How the share becomes a count; `nearest` makes 75 % of 225 layers 169."""


def rounded(share: float, rounding: Rounding) -> int:
    """A count from a share of units; halves go up."""
    # A product such as 0.3 * 210 is 62.99999999999999: without the guard `floor` would lose a unit.
    value = round(share, 9)
    if rounding == "nearest":
        return math.floor(value + 0.5)
    return math.floor(value) if rounding == "floor" else math.ceil(value)


def top_names(ranking: Ranking, params: FractionParams) -> Sequence[str]:
    """The names of the highest-ranked units, at least one; ties go to the earlier unit."""
    count = rounded(params.fraction * len(ranking.scores), params.rounding)
    return ranking.ordered()[: max(1, count)]


@policy("top", rankings="one", version=1)
class Top:
    """The highest-ranked share of the layers, or of their parameters.

    With `of = "parameters"` units are taken in rank order until the next one would exceed the share of the weights.
    """

    class Params(FractionParams):
        """Parameters of `top`."""

        of: Literal["layers", "parameters"] = "layers"
        """What the fraction is a share of: the number of units, or their weights."""

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the chosen units."""
        if context.params.of == "layers":
            return top_names(context.ranking, context.params)
        return self._within_budget(context)

    @staticmethod
    def _within_budget(context: SelectionContext) -> list[str]:
        size = {group.name: group.parameters for group in context.groups}
        budget = context.params.fraction * sum(size.values())
        chosen: list[str] = []
        spent = 0
        for name in context.ranking.ordered():
            if chosen and spent + size[name] > budget:
                break
            chosen.append(name)
            spent += size[name]
        return chosen


@policy("quota", rankings="one", version=1)
class Quota:
    """The highest-ranked share of every module type, or of every band of depth, so that none is left out.

    Shares that are no whole numbers go by largest remainder: in all, as many units are taken as the shares come to, so
    that an arm has as many layers as `top` with the same `fraction`. Equal remainders go to the earlier group.
    """

    class Params(FractionParams):
        """Parameters of `quota`."""

        by: Literal["type", "depth", "type and depth"] = "type"
        """What has a quota of its own: a module type, a band of blocks, or a type in a band."""
        bands: Annotated[int, Field(ge=2)] = 4
        """Bands of equally many blocks, as nearly as can be; the head belongs to the last. Not read `by = "type"`."""
        shares: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
        """Shares instead of `fraction`, by type (`mlp.*`), number of the band from 0 (`"3"`), or both (`mlp.*/3`), each
        with `*` for any text; of several that fit, the first."""

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the chosen units."""
        params, members = context.params, self._members(context)
        for pattern in params.shares:
            if not any(fnmatchcase(label, pattern) for label in members):
                near = get_close_matches(pattern, members, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(members)}"
                raise UserError(f"select.shares: {pattern!r} fits no group{hint}")
        wanted = {label: self._share(label, params) * len(names) for label, names in members.items()}
        if not any(wanted.values()):
            raise UserError("select.shares: every group has the share 0, so that no layer is left; give one a share")
        place = {name: number for number, name in enumerate(context.ranking.ordered())}
        return [
            name
            for label, count in self._counts(wanted, params.rounding).items()
            for name in sorted(members[label], key=place.__getitem__)[:count]
        ]

    @staticmethod
    def _members(context: SelectionContext) -> dict[str, list[str]]:
        """Names of the units that share a quota, by label, in model order."""
        by, bands = context.params.by, context.params.bands
        depth = 1 + max(group.block for group in context.groups if group.block is not None)
        members: dict[str, list[str]] = {}
        for group in context.groups:
            band = bands - 1 if group.block is None else group.block * bands // depth
            labels = {"type": group.kind, "depth": f"{band}", "type and depth": f"{group.kind}/{band}"}
            members.setdefault(labels[by], []).append(group.name)
        return members

    @staticmethod
    def _share(label: str, params: Params) -> float:
        return next((share for each, share in params.shares.items() if fnmatchcase(label, each)), params.fraction)

    @staticmethod
    def _counts(wanted: Mapping[str, float], rounding: Rounding) -> dict[str, int]:
        counts = {label: rounded(share, "floor") for label, share in wanted.items()}
        left = max(1, rounded(sum(wanted.values()), rounding)) - sum(counts.values())
        order = sorted(wanted, key=lambda label: round(counts[label] - wanted[label], 9))
        return {label: count + (label in order[:left]) for label, count in counts.items()}


@policy("freeze", rankings="one", version=1)
class Freeze:
    """All but the lowest-ranked share: the paper's "freeze about 25 %"."""

    class Params(Params):
        """Parameters of `freeze`."""

        fraction: Annotated[float, Field(gt=0, lt=1)]
        """Share of the units left frozen, from the bottom of the ranking."""
        rounding: Rounding = "nearest"
        """How the share becomes a count."""

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the units that are not frozen."""
        ordered = context.ranking.ordered()
        frozen = rounded(context.params.fraction * len(ordered), context.params.rounding)
        return ordered[: max(1, len(ordered) - frozen)]


@policy("lowest", rankings="one", version=1)
class Lowest:
    """The lowest-ranked units: what `action = "prune"` removes.

    Ties go to the later unit, as in the greedy search of arXiv 2602.01997.
    """

    class Params(Params):
        """Parameters of `lowest`."""

        fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
        """Share of all units to take from the bottom of the ranking."""
        count: Annotated[int, Field(ge=1)] | None = None
        """Number of units to take, instead of `fraction`."""
        rounding: Rounding = "nearest"
        """How the share becomes a count."""
        protect: tuple[int, ...] = ()
        """Numbers of blocks that are never taken, from 0; negative ones count from the end (`[0, -1]`)."""

        @model_validator(mode="after")
        def _one_amount(self) -> Self:
            if (self.fraction is None) == (self.count is None):
                raise ValueError("give `fraction` or `count`, one of them")
            return self

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names of the chosen units."""
        params = context.params
        names = [group.name for group in context.groups]
        kept = protected(context.groups, params.protect)
        free = [name for name in names if name not in kept]
        count = params.count or max(1, rounded(params.fraction * len(names), params.rounding))
        if count > len(free):
            raise UserError(f"select: {count} units are to be taken, and {len(free)} are not protected; take fewer")
        order = sorted(range(len(free)), key=lambda place: (context.ranking.scores[free[place]], -place))
        return [free[place] for place in order[:count]]


def protected(groups: Sequence[Group], blocks: Sequence[int]) -> set[str]:
    """Names of the units in blocks given by number; negative numbers count from the end.

    Raises:
        UserError: There is no such block.
    """
    depth = 1 + max(group.block for group in groups if group.block is not None)
    for number in blocks:
        if not -depth <= number < depth:
            raise UserError(f"protect: there is no block {number}; the model has blocks 0 to {depth - 1}")
    places = {number % depth for number in blocks}
    return {group.name for group in groups if group.block in places}


@policy("intersection", rankings="some", version=1)
class Intersection:
    """Units in the top share of every ranking: of each data set of the recipe, and of each scorer the arm names."""

    Params = FractionParams

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names common to all top sets."""
        common = set.intersection(*_top_sets(context))
        if not common:
            raise UserError(
                f"select: the top {context.params.fraction:.0%} of {', '.join(context.rankings)} have no layer in "
                "common; take a larger `fraction`, or `union`"
            )
        return common


@policy("union", rankings="some", version=1)
class Union:
    """Units in the top share of at least one ranking."""

    Params = FractionParams

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names in any top set."""
        return set.union(*_top_sets(context))


def _top_sets(context: SelectionContext) -> list[set[str]]:
    return [set(top_names(ranking, context.params)) for ranking in context.rankings.values()]


@policy("list", rankings="none", version=1)
class List:
    """The layers that the recipe names, by full name or shell pattern (`model.layers.1?.mlp.*`)."""

    class Params(Params):
        """Parameters of `list`."""

        layers: Annotated[tuple[str, ...], Field(min_length=1)]
        """Names of units or layers, or patterns with `*`, `?` and `[...]`."""

    def select(self, context: SelectionContext) -> Iterable[str]:
        """Names that the patterns match; a pattern that matches nothing is an error."""
        chosen: set[str] = set()
        for pattern in context.params.layers:
            matched = [group.name for group in context.groups if _matches(pattern, group)]
            if not matched:
                near = get_close_matches(pattern, [group.name for group in context.groups], n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UserError(f"select.layers: {pattern!r} matches no layer of the model{hint}")
            chosen.update(matched)
        return chosen


def _matches(pattern: str, group: Group) -> bool:
    return fnmatchcase(group.name, pattern)
