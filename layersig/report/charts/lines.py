"""Line charts: training losses, and agreement over k beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layersig.report.palette import BAND, INK, SERIES
from layersig.report.svg import TIP, Datasets, Drawing

_WIDTH = 600
_HEIGHT = 230
_FEW_POINTS = 12
_MOST_COLOURS = len(SERIES)


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its name, its points, and whether it is one of several repetitions that stand back."""

    name: str
    points: tuple[tuple[float, float], ...]
    faint: bool = False
    dashed: bool = False
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded area between two curves: x, low, high."""

    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class LinePanel:
    """One line chart."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    band: Band | None = None


def line_charts(panels: Sequence[LinePanel]) -> Drawing:
    """Panels below each other with one legend."""
    import altair

    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    data = Datasets()
    charts = [_panel(altair, data, panel, names) for panel in panels]
    return data.stacked(charts, one_legend=True)


def _panel(altair: Any, data: Datasets, panel: LinePanel, names: Sequence[str]) -> Any:
    colours = [SERIES[i % _MOST_COLOURS] for i in range(len(names))]
    colour = altair.Color(
        "name:N",
        sort=list(names),
        scale=altair.Scale(domain=list(names), range=colours),
        legend=altair.Legend(title=None, columns=3, columnPadding=28, symbolType="stroke", symbolStrokeWidth=3),
    )
    whole = all(float(x).is_integer() for line in panel.lines for x, _ in line.points)
    axis = altair.Axis(title=panel.x, grid=False, labelOverlap=True, **({"tickMinStep": 1} if whole else {}))
    x = altair.X("x:Q", axis=axis, scale=altair.Scale(zero=False, nice=False))
    y = altair.Y("y:Q", axis=altair.Axis(title=panel.y, tickCount=6, domain=False), scale=altair.Scale(zero=False))
    layers = []
    if panel.band is not None:
        area: list[dict[str, Any]] = [{"x": x_, "low": low, "high": high} for x_, low, high in panel.band.points]
        layers.append(
            altair.Chart(data.add(area))
            .mark_area(color=BAND, opacity=0.5, aria=False)
            .encode(x=x, y=altair.Y("low:Q"), y2=altair.Y2("high:Q"))
        )
    for faint, dashed in ((True, False), (False, True), (False, False)):
        values: list[dict[str, Any]] = [
            {"x": x_, "y": y_, "name": line.name, "line": f"{place}", "tip": TIP + (line.tip or line.name)}
            for place, line in enumerate(panel.lines)
            if (line.faint, line.dashed) == (faint, dashed)
            for x_, y_ in line.points
        ]
        if values:
            style: dict[str, Any] = {"strokeWidth": 1, "opacity": 0.28} if faint else {"strokeWidth": 2}
            if len(values) <= _FEW_POINTS * len(panel.lines):
                style["point"] = {"size": 45}
            if dashed:
                style |= {"strokeDash": [4, 3], "strokeWidth": 1.4}
            layers.append(
                altair.Chart(data.add(values))
                .mark_line(interpolate="linear", **style)
                .encode(x=x, y=y, color=colour, detail=altair.Detail("line:N"), description=altair.Description("tip:N"))
            )
    title = altair.TitleParams(panel.title, color=INK)
    return altair.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)
