"""Figures of the pages: estimates with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.numbers import fixed
from layersig.report.svg import described
from layersig.report.svg import draw as drawn
from tests.replication.answers import Chart, Estimate
from tests.replication.views import span


def draw(charts: Sequence[Chart], name: str) -> str:
    """Charts below each other, as SVG."""
    panels = [
        Panel(chart.title, chart.axis, tuple(_row(each) for each in chart.estimates), chart.margin, chart.reference)
        for chart in charts
        if chart.estimates
    ]
    alt = f"{'; '.join(chart.title for chart in charts)}. The tables of the page hold the same numbers."
    return described(drawn(forest(panels), name), alt) + "\n"


def _row(estimate: Estimate) -> ForestRow:
    decimals = 4 if abs(estimate.value) < 0.1 else 2
    ends = "" if estimate.low is None and estimate.high is None else span(estimate.low, estimate.high, decimals)
    label = f"{fixed(estimate.value, decimals)} {ends}".strip()
    tip = f"{estimate.label}\n{estimate.group}\n{label}"
    return ForestRow(estimate.label, estimate.group, estimate.value, estimate.low, estimate.high, (), label, tip)
