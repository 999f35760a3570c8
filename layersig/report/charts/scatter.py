"""Scatter plots of the ranks that two rankings give to the same layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layersig.report.palette import BAND, INK, SERIES
from layersig.report.svg import TIP, Datasets, Drawing

_SIDE = 250
_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One layer: its rank in both rankings, what its colour stands for, hover text."""

    x: float
    y: float
    group: str
    tip: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """One plot; ranks run from 1 to `most`, the best at the top right."""

    title: str
    x: str
    y: str
    most: int
    points: tuple[Point, ...]


def scatters(drawn: Sequence[Scatter]) -> Drawing:
    """Plots beside each other with one legend of groups."""
    import altair

    data = Datasets()
    groups = list(dict.fromkeys(point.group for each in drawn for point in each.points))
    return data.stacked([_scatter(altair, data, each, groups) for each in drawn], columns=_COLUMNS, one_legend=True)


def _scatter(altair: Any, data: Datasets, drawn: Scatter, groups: Sequence[str]) -> Any:
    rows = [{"x": p.x, "y": p.y, "group": p.group, "tip": TIP + p.tip} for p in drawn.points]
    scale = altair.Scale(domain=[drawn.most, 1], nice=False, zero=False)
    colours = [SERIES[i % len(SERIES)] for i in range(len(groups))]
    x = altair.X("x:Q", scale=scale, axis=altair.Axis(title=drawn.x, tickCount=5, domain=False))
    y = altair.Y("y:Q", scale=scale, axis=altair.Axis(title=drawn.y, tickCount=5, domain=False))
    diagonal = (
        altair.Chart(data.add([{"x": 1, "y": 1}, {"x": drawn.most, "y": drawn.most}]))
        .mark_line(color=BAND, strokeWidth=1.5, aria=False)
        .encode(x=x, y=y)
    )
    points = (
        altair.Chart(data.add(rows))
        .mark_point(filled=True, size=34, opacity=0.8)
        .encode(
            x=x,
            y=y,
            color=altair.Color(
                "group:N",
                scale=altair.Scale(domain=list(groups), range=colours),
                legend=altair.Legend(title=None, columns=4, columnPadding=24),
            ),
            description=altair.Description("tip:N"),
        )
    )
    title = altair.TitleParams(drawn.title, color=INK)
    return altair.layer(diagonal, points, title=title).properties(width=_SIDE, height=_SIDE)
