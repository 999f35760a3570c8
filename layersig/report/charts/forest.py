"""Forest plots: a difference with its interval a row, every seed as a dot, the margin as a band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from layersig.report.palette import BAND, INK, PAPER, SERIES
from layersig.report.svg import TIP, Datasets, Drawing

_WIDTH = 420
_ROW = 22


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One row of a forest plot, in the unit that is shown.

    Attributes:
        row: What is compared: an arm.
        group: Its data set; rows of one arm lie together, coloured by group.
        value: The estimate.
        low: Lower end of the interval; None for unbounded or unknown.
        high: Upper end.
        dots: The estimate in each seed.
        label: Text at the right.
        tip: Hover text.
    """

    row: str
    group: str
    value: float
    low: float | None
    high: float | None
    dots: tuple[float, ...]
    label: str
    tip: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One forest plot.

    Attributes:
        title: Task and metric.
        axis: What the x axis shows, with its unit and the better side.
        rows: The estimates.
        margin: Half-width of the band around the reference that counts as no difference; None for none.
        reference: Value that the line stands at: 0 for differences, 1 for shares.
    """

    title: str
    axis: str
    rows: tuple[ForestRow, ...]
    margin: float | None = None
    reference: float = 0.0


def forest(panels: Sequence[Panel]) -> Drawing:
    """Panels below each other, each with its own axis."""
    import altair

    data = Datasets()
    charts = [_panel(altair, data, panel) for panel in panels]
    return data.stacked(charts, one_legend=True)


def _panel(altair: Any, data: Datasets, panel: Panel) -> Any:
    lines = sorted({(row.row, row.group) for row in panel.rows}, key=_line_order(panel))
    place = {line: i for i, line in enumerate(lines)}
    groups = sorted({row.group for row in panel.rows})
    ends = _reach(panel)
    estimates = data.add([_datum(row, place[row.row, row.group], ends) for row in panel.rows])
    dots = [
        {"place": place[row.row, row.group], "group": row.group, "value": dot, "tip": TIP + row.tip}
        for row in panel.rows
        for dot in row.dots
    ]
    names = [{"place": i, "row": row} for i, (row, _) in enumerate(lines) if row not in [r for r, _ in lines[:i]]]
    axis = altair.Axis(title=panel.axis, tickCount=6, domain=False)
    scale = altair.Scale(domain=list(ends), nice=False, zero=False)
    x = altair.X("value:Q", scale=scale, axis=axis)
    y = altair.Y("place:O", axis=None, scale=altair.Scale(domain=list(range(len(lines)))))
    colour = altair.Color(
        "group:N",
        scale=altair.Scale(domain=groups, range=list(SERIES[: len(groups)])),
        legend=altair.Legend(title=None) if len(groups) > 1 else None,
    )
    text = {"fontSize": 11, "color": INK, "aria": False}
    margin = panel.margin or 0.0
    band = data.add([{"value": panel.reference - margin, "to": panel.reference + margin}])
    layers = (
        altair.Chart(band)
        .mark_rect(color=BAND, opacity=0.45, aria=False)
        .encode(x=x, x2=altair.X2("to:Q"), y=altair.YValue(0), y2=altair.Y2Value(_ROW * len(lines))),
        altair.Chart(data.add([{"value": panel.reference}])).mark_rule(color=INK, aria=False).encode(x=x),
        altair.Chart(estimates)
        .mark_rule(strokeWidth=2.5)
        .encode(
            x=altair.X("low:Q", scale=scale, axis=axis),
            x2=altair.X2("high:Q"),
            y=y,
            color=colour,
            description=altair.Description("tip:N"),
        ),
        altair.Chart(data.add(dots))
        .mark_point(shape="circle", size=22, strokeWidth=1.2, fill=PAPER, yOffset=6)
        .encode(x=x, y=y, color=colour, description=altair.Description("tip:N")),
        altair.Chart(estimates)
        .mark_point(shape="diamond", size=95, filled=True, opacity=1)
        .encode(x=x, y=y, color=colour, description=altair.Description("tip:N")),
        altair.Chart(estimates)
        .mark_text(align="left", **text)
        .encode(x=altair.XValue(_WIDTH + 10), y=y, text=altair.Text("label:N")),
        altair.Chart(data.add(names))
        .mark_text(align="right", **text)
        .encode(x=altair.XValue(-10), y=y, text=altair.Text("row:N")),
    )
    title = altair.TitleParams(panel.title, color=INK)
    return altair.layer(*layers, title=title).properties(width=_WIDTH, height=_ROW * len(lines))


def _line_order(panel: Panel) -> Callable[[tuple[str, str]], tuple[int, str]]:
    """Arms in the order in which they first come, their groups by name."""
    arms = list(dict.fromkeys(row.row for row in panel.rows))
    return lambda line: (arms.index(line[0]), line[1])


def _datum(row: ForestRow, place: int, ends: tuple[float, float]) -> dict[str, Any]:
    """A row of the chart; a bar that leaves the axis ends at its edge, and no interval at all is no bar."""
    low, high = (row.value, row.value) if row.low is row.high is None else (row.low, row.high)
    return {
        "place": place,
        "group": row.group,
        "value": row.value,
        "low": ends[0] if low is None else max(low, ends[0]),
        "high": ends[1] if high is None else min(high, ends[1]),
        "label": row.label,
        "tip": TIP + row.tip,
    }


def _reach(panel: Panel) -> tuple[float, float]:
    """Ends of the axis: every estimate, dot and end of an interval, unless an interval dwarfs the estimates."""
    points = [panel.reference, *(row.value for row in panel.rows), *(dot for row in panel.rows for dot in row.dots)]
    if panel.margin is not None:
        points += [panel.reference - panel.margin, panel.reference + panel.margin]
    spread = max(points) - min(points) or 1.0
    ends = [end for row in panel.rows for end in (row.low, row.high) if end is not None]
    low = max(min([*points, *ends]), min(points) - 2 * spread)
    high = min(max([*points, *ends]), max(points) + 2 * spread)
    pad = 0.04 * (high - low)
    return low - pad, high + pad
