"""Curves of differences over a quantity: each with its band, the points that may be the best filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layersig.report.palette import INK, MUTED, PAPER, SERIES
from layersig.report.svg import TIP, Datasets, Drawing

_WIDTH = 560
_HEIGHT = 230
_MANY_TIMES = 20
"""Ratio of the ends from which on the axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point of a curve, in the unit that is shown; ends of its band, and whether it may be the best one."""

    x: float
    y: float
    low: float | None
    high: float | None
    filled: bool
    tip: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve by name."""

    name: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One chart.

    Attributes:
        title: What varies, and what was measured.
        x: Name of the quantity.
        y: Name of the metric with its unit.
        curves: The curves.
    """

    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]


def curve_charts(panels: Sequence[CurvePanel]) -> Drawing:
    """Panels below each other with one legend."""
    import altair

    data = Datasets()
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    return data.stacked([_panel(altair, data, panel, names) for panel in panels], one_legend=True)


def _panel(altair: Any, data: Datasets, panel: CurvePanel, names: Sequence[str]) -> Any:
    colour = altair.Color(
        "name:N",
        sort=list(names),
        scale=altair.Scale(domain=list(names), range=[SERIES[i % len(SERIES)] for i in range(len(names))]),
        legend=altair.Legend(title=None, symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
    )
    xs = [point.x for curve in panel.curves for point in curve.points]
    scale = altair.Scale(type="log" if min(xs) > 0 and max(xs) >= _MANY_TIMES * min(xs) else "linear", zero=False)
    x = altair.X("x:Q", axis=altair.Axis(title=panel.x, grid=False), scale=scale)
    y = altair.Y("y:Q", axis=altair.Axis(title=panel.y, tickCount=6, domain=False), scale=altair.Scale(zero=False))
    values: list[dict[str, Any]] = [
        {
            "x": point.x,
            "y": point.y,
            "low": point.low,
            "high": point.high,
            "name": curve.name,
            "filled": point.filled,
            "tip": TIP + point.tip,
        }
        for curve in panel.curves
        for point in curve.points
    ]
    rows = data.add(values)
    bands = data.add([row for row in values if row["low"] is not None and row["high"] is not None])
    about = altair.Description("tip:N")
    layers = (
        altair.Chart(data.add([{"y": 0.0}])).mark_rule(color=MUTED, aria=False).encode(y=y),
        altair.Chart(bands)
        .mark_area(opacity=0.16, aria=False)
        .encode(x=x, y=altair.Y("low:Q"), y2=altair.Y2("high:Q"), color=colour),
        altair.Chart(rows).mark_line(strokeWidth=2).encode(x=x, y=y, color=colour),
        altair.Chart(rows)
        .mark_point(shape="circle", size=42, strokeWidth=1.6, fill=PAPER, opacity=1)
        .encode(x=x, y=y, color=colour, description=about),
        altair.Chart(rows)
        .transform_filter("datum.filled")
        .mark_point(shape="circle", size=42, strokeWidth=1.6, filled=True, opacity=1)
        .encode(x=x, y=y, color=colour, description=about),
    )
    title = altair.TitleParams(panel.title, color=INK)
    return altair.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)
