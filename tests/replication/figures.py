"""Figures of the pages: estimates with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.numbers import fixed
from layersig.report.svg import described
from layersig.report.svg import draw as drawn
from tests.replication.answers import Chart, Estimate
from tests.replication.views import span


def draw(charts: Sequence[Chart], name: str) -> str:
    """Charts below each other, as SVG."""
    panels = [
        Panel(chart.title, chart.axis, tuple(_rows(chart.estimates)), chart.margin, chart.reference)
        for chart in charts
        if chart.estimates
    ]
    alt = f"{'; '.join(chart.title for chart in charts)}. The tables of the page hold the same numbers."
    return described(drawn(forest(panels), name), alt) + "\n"


def _rows(estimates: Sequence[Estimate]) -> Iterator[ForestRow]:
    decimals = 4 if max(abs(each.value) for each in estimates) < 0.1 else 2
    return (_row(each, decimals) for each in estimates)


def _row(estimate: Estimate, decimals: int) -> ForestRow:
    ends = "" if estimate.low is None and estimate.high is None else span(estimate.low, estimate.high, decimals)
    label = f"{fixed(estimate.value, decimals)} {ends}".strip()
    tip = f"{estimate.label}\n{estimate.group}\n{label}"
    return ForestRow(estimate.label, estimate.group, estimate.value, estimate.low, estimate.high, (), label, tip)
