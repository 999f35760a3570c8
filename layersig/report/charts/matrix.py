"""Matrices: every ranking or scorer against every other, the value written into its square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layersig.report.palette import INK, ON_STRONG, RAMP
from layersig.report.svg import TIP, Datasets, Drawing

_STRONG = 0.6


@dataclass(frozen=True, slots=True)
class Entry:
    """A square: its row, its column, its value between 0 and 1 (below 0 counts as 0), hover text."""

    row: str
    column: str
    value: float
    tip: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """One matrix with its title and the order of its rows and columns."""

    title: str
    names: tuple[str, ...]
    entries: tuple[Entry, ...]


def matrices(drawn: Sequence[Matrix]) -> Drawing:
    """Matrices below each other, dark (in dark mode: bright) for high values."""
    import altair

    data = Datasets()
    return data.stacked([_matrix(altair, data, each) for each in drawn])


def _matrix(altair: Any, data: Datasets, drawn: Matrix) -> Any:
    names = list(drawn.names)
    step = max(30, min(56, 560 // len(names)))
    rows = [
        {
            "row": entry.row,
            "column": entry.column,
            "value": entry.value,
            "label": f"{entry.value:.2f}".replace("-", "\u2212"),
            "strong": entry.value >= _STRONG,
            "tip": TIP + entry.tip,
        }
        for entry in drawn.entries
    ]
    scale = altair.Scale(domain=names)
    x = altair.X("column:N", sort=names, scale=scale, axis=altair.Axis(title=None, labelAngle=-40, **_AXIS))
    y = altair.Y("row:N", sort=names, scale=scale, axis=altair.Axis(title=None, **_AXIS))
    tenths = altair.Scale(type="threshold", domain=[i / 10 for i in range(1, 10)], range=list(RAMP))
    contrast = altair.Scale(domain=[False, True], range=[INK, ON_STRONG])
    squares = (
        altair.Chart(data.add(rows))
        .mark_rect(width=step - 2, height=26)
        .encode(
            x=x,
            y=y,
            color=altair.Color("value:Q", scale=tenths, legend=None),
            description=altair.Description("tip:N"),
        )
    )
    labels = (
        altair.Chart(data.add(rows))
        .mark_text(fontSize=10, aria=False)
        .encode(
            x=x,
            y=y,
            text=altair.Text("label:N"),
            color=altair.Color("strong:N", scale=contrast, legend=None),
        )
    )
    title = altair.TitleParams(drawn.title, color=INK)
    return (
        altair.layer(squares, labels, title=title)
        .resolve_scale(color="independent")
        .properties(width={"step": step}, height={"step": 28})
    )


_AXIS = {"ticks": False, "domain": False, "labelPadding": 4, "labelColor": INK}
