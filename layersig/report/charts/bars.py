"""Bars: a length a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layersig.report.palette import BAND, INK, SERIES
from layersig.report.svg import TIP, Datasets, Drawing

_WIDTH = 460
_ROW = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its row, its whole length, the part of it that stands out, hover text."""

    row: str
    whole: float
    part: float
    tip: str


def bars(rows: Sequence[Bar], axis: str) -> Drawing:
    """Pale bars with a strong part, both from 0."""
    import altair

    data = Datasets()
    values = [{"row": row.row, "whole": row.whole, "part": row.part, "tip": TIP + row.tip} for row in rows]
    x_axis = altair.Axis(title=axis, tickCount=6, domain=False)
    y_axis = altair.Axis(title=None, ticks=False, domain=False, labelColor=INK)
    y = altair.Y("row:N", sort=[row.row for row in rows], axis=y_axis)
    chart = altair.Chart(data.add(values))
    whole = chart.mark_bar(color=BAND, height=14).encode(
        x=altair.X("whole:Q", axis=x_axis), y=y, description=altair.Description("tip:N")
    )
    part = chart.mark_bar(color=SERIES[0], height=14).encode(
        x=altair.X("part:Q", axis=x_axis), y=y, description=altair.Description("tip:N")
    )
    return data.stacked([altair.layer(whole, part).properties(width=_WIDTH, height=_ROW * len(rows))])
