"""Strips: observed overlaps as dots on top of what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layersig.report.palette import BAND, INK, SERIES
from layersig.report.svg import TIP, Datasets, Drawing

_WIDTH = 420
_ROW = 24


@dataclass(frozen=True, slots=True)
class Dot:
    """One observed overlap.

    Attributes:
        row: What is compared with what.
        value: The overlap.
        expected: What module types alone would give.
        control: Whether one of the two ignores model and data, so that the dot stands back.
        tip: Hover text.
    """

    row: str
    value: float
    expected: float
    control: bool
    tip: str


@dataclass(frozen=True, slots=True)
class Strip:
    """One chart: dots over the range that chance gives."""

    title: str
    axis: str
    dots: tuple[Dot, ...]
    chance: tuple[float, float]


def strips(charts: Sequence[Strip]) -> Drawing:
    """Charts below each other on a common axis from 0 to 1."""
    import altair

    data = Datasets()
    return data.stacked([_strip(altair, data, chart) for chart in charts])


def _strip(altair: Any, data: Datasets, strip: Strip) -> Any:
    rows = list(dict.fromkeys(dot.row for dot in strip.dots))
    pairs = [
        {"row": dot.row, "value": dot.value, "expected": dot.expected, "control": dot.control, "tip": TIP + dot.tip}
        for dot in strip.dots
    ]
    x = altair.Scale(domain=[0, 1], nice=False)
    axis = altair.Axis(title=strip.axis, tickCount=6, domain=False)
    y = altair.Y("row:N", sort=rows, axis=altair.Axis(title=None, ticks=False, domain=False, labelColor=INK))
    colour = altair.Color(
        "control:N", scale=altair.Scale(domain=[False, True], range=[SERIES[0], SERIES[7]]), legend=None
    )
    chance = (
        altair.Chart(data.add([{"from": strip.chance[0], "to": strip.chance[1]}]))
        .mark_rect(color=BAND, opacity=0.6, aria=False)
        .encode(
            x=altair.X("from:Q", scale=x), x2=altair.X2("to:Q"), y=altair.YValue(0), y2=altair.Y2Value(_ROW * len(rows))
        )
    )
    expected = (
        altair.Chart(data.add(pairs))
        .mark_tick(color=SERIES[1], thickness=1.6, height=13, opacity=0.9, aria=False)
        .encode(x=altair.X("expected:Q", scale=x, axis=axis), y=y)
    )
    observed = (
        altair.Chart(data.add(pairs))
        .mark_point(filled=True, size=46, opacity=0.75)
        .encode(x=altair.X("value:Q", scale=x, axis=axis), y=y, color=colour, description=altair.Description("tip:N"))
    )
    title = altair.TitleParams(strip.title, color=INK)
    return altair.layer(chance, expected, observed, title=title).properties(width=_WIDTH, height=_ROW * len(rows))
