"""Block x module maps: the rank of every layer, and how often a selection holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layersig.report.palette import RAMP
from layersig.report.svg import TIP, Datasets, Drawing

_WIDTH = 620
HEAD = "head"


@dataclass(frozen=True, slots=True)
class Square:
    """One layer of a map.

    Attributes:
        block: Index of its block; None for the output head.
        kind: Module type.
        strength: From 0 (weakest) to 1 (strongest).
        tip: Hover text.
    """

    block: int | None
    kind: str
    strength: float
    tip: str


@dataclass(frozen=True, slots=True)
class Map:
    """One map with its title."""

    title: str
    squares: tuple[Square, ...]


def heat_maps(maps: Sequence[Map], legend: tuple[str, str], shades: int = len(RAMP)) -> Drawing:
    """Maps below each other, blocks from left to right, module types from top to bottom.

    Args:
        maps: At least one; all of one model.
        legend: What the weak and the strong end of the ramp mean.
        shades: Shades of the ramp that occur: 2 where a layer is chosen or not.
    """
    import altair

    data = Datasets()
    squares = [square for drawn in maps for square in drawn.squares]
    blocks = sorted({square.block for square in squares if square.block is not None})
    columns = [str(block) for block in blocks] + ([HEAD] if any(s.block is None for s in squares) else [])
    kinds = list(dict.fromkeys(square.kind for square in squares))
    step = max(7, min(20, _WIDTH // max(1, len(columns))))
    shown = columns[:: 1 if step > 14 else 5]
    charts = [
        altair.Chart(data.add([_datum(square) for square in drawn.squares]), title=drawn.title)
        .mark_rect(strokeWidth=0, width=step - 1, height=min(step, 16) - 1)
        .encode(
            x=altair.X("block:O", sort=columns, scale=altair.Scale(domain=columns), axis=_axis(altair, shown)),
            y=altair.Y("kind:N", sort=kinds, scale=altair.Scale(domain=kinds), axis=_axis(altair, None)),
            color=altair.Color(
                "strength:Q",
                scale=altair.Scale(type="threshold", domain=[i / 10 for i in range(1, 10)], range=list(RAMP)),
                legend=None,
            ),
            description=altair.Description("tip:N"),
        )
        .properties(width={"step": step}, height={"step": min(step, 16)})
        for drawn in maps
    ]
    return data.stacked([*charts, _ramp(altair, data, legend, shades)])


def _datum(square: Square) -> dict[str, Any]:
    block = HEAD if square.block is None else str(square.block)
    return {"block": block, "kind": square.kind, "strength": square.strength, "tip": TIP + square.tip}


def _axis(altair: Any, values: Sequence[str] | None) -> Any:
    if values is None:
        return altair.Axis(title=None, ticks=False, domain=False, labelPadding=6)
    return altair.Axis(title="block", values=list(values), labelAngle=0, ticks=False, domain=False, labelPadding=4)


def _ramp(altair: Any, data: Datasets, legend: tuple[str, str], shades: int) -> Any:
    """The key of the colours, drawn as a row of squares so that it recolours with the map."""
    values = [{"place": place, "strength": place / (shades - 1)} for place in range(shades)]
    scale = altair.Scale(type="threshold", domain=[i / 10 for i in range(1, 10)], range=list(RAMP))
    axis = altair.Axis(
        title=None,
        values=[0, shades - 1],
        labelAngle=0,
        ticks=False,
        domain=False,
        labelAlign="center",
        labelOverlap=False,
        labelExpr=f"datum.value == 0 ? {_quoted(legend[0])} : {_quoted(legend[1])}",
    )
    return (
        altair.Chart(data.add(values))
        .mark_rect(strokeWidth=0)
        .encode(x=altair.X("place:O", axis=axis), color=altair.Color("strength:Q", scale=scale, legend=None))
        .properties(width={"step": 22 if shades > 2 else 90}, height=10)
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
