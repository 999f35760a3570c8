"""Charts as SVG: drawn by Vega without browser or network, then stripped to what a page needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from layersig.report.palette import GRID, INK, MUTED, dark_rules

TIP = "\u2063"
"""Marks the description of a mark as hover text; every other description is dropped, the figure has one for all."""

_NAMESPACE = "http://www.w3.org/2000/svg"
_NOISE = {"aria-label", "aria-roledescription", "aria-hidden", "role", "pointer-events", "class", "version"}

_CONFIG: dict[str, Any] = {
    "background": None,
    "padding": 8,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelLimit": 240,
    },
    "title": {"color": INK, "fontSize": 12, "fontWeight": 600, "anchor": "start", "frame": "group", "offset": 8},
    "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": 600, "titleColor": MUTED},
    "legend": {
        "labelColor": INK,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "labelLimit": 260,
        "orient": "top",
    },
    "text": {"color": INK, "fontSize": 11},
}


class Datasets:
    """The rows of a chart, kept apart from it: altair checks and copies whatever stands inside of a chart."""

    def __init__(self) -> None:
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def add(self, rows: Sequence[dict[str, Any]]) -> Any:
        """Rows as the data of a chart."""
        import altair

        name = f"rows-{len(self._rows)}"
        self._rows[name] = list(rows)
        return altair.NamedData(name)

    def stacked(self, charts: Sequence[Any], *, columns: int = 1, one_legend: bool = False) -> Drawing:
        """Charts below each other, or in columns, with their rows.

        They are joined here and not by altair, which would copy every chart again at every step.

        Args:
            charts: Altair charts, layered or single.
            columns: Charts side by side.
            one_legend: Whether the charts share the colours of one legend.
        """
        parts = [chart.to_dict(validate=False) for chart in charts]
        spec: dict[str, Any] = {
            "$schema": parts[0]["$schema"],
            "columns": columns,
            "concat": [{k: v for k, v in part.items() if k not in {"$schema", "config"}} for part in parts],
            "spacing": 22,
            "config": _CONFIG,
            "datasets": self._rows,
        }
        if one_legend:
            spec["resolve"] = {"scale": {"color": "shared"}}
        return Drawing(spec)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart ready to be drawn; hover text of a mark is its `description`, starting with `TIP`."""

    spec: dict[str, Any]


_collected: ContextVar[dict[str, dict[str, Any]] | None] = ContextVar("_collected", default=None)


@contextmanager
def specifications() -> Iterator[dict[str, dict[str, Any]]]:
    """Within the block charts are not drawn: their Vega-Lite specifications are collected here, by name."""
    found: dict[str, dict[str, Any]] = {}
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def draw(drawing: Drawing, name: str) -> str:
    """Render a chart to an `<svg>` element without script, links or repeated ids.

    Args:
        drawing: The chart.
        name: Unique in the report; ids inside the drawing start with it.
    """
    import vl_convert

    if (collected := _collected.get()) is not None:
        collected[name] = drawing.spec
        return "<svg />"
    return _stripped(vl_convert.vegalite_to_svg(drawing.spec), name)


def described(svg: str, alt: str) -> str:
    """The drawing with its text alternative."""
    return svg.replace("<svg ", f'<svg role="img" aria-label={quoteattr(alt)} ', 1)


def standalone(svg: str) -> str:
    """The drawing as a file of its own, with dark colours where the viewer asks for them."""
    head, _, rest = svg.partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}><style>{dark_rules()}</style>{rest}\n'


def _stripped(svg: str, name: str) -> str:
    """Keep what is drawn and the hover text; drop the roles and labels that Vega gives to every single mark."""
    ElementTree.register_namespace("", _NAMESPACE)
    root = ElementTree.fromstring(svg)  # our own drawing, not a stranger's file
    ids: dict[str, str] = {}
    for element in root.iter():
        for child in list(element):
            if child.get("class") in {"background", "foreground"} and not {"fill", "stroke"}.intersection(child.keys()):
                element.remove(child)
        if (label := element.get("aria-label", "")).startswith(TIP):
            element.set("data-tip", label.removeprefix(TIP))
        for attribute in _NOISE.intersection(element.keys()):
            del element.attrib[attribute]
        if (old := element.get("id")) is not None:
            element.set("id", ids.setdefault(old, f"{name}-{len(ids)}"))
    for element in root.iter():
        for attribute, value in element.items():
            if value.startswith("url(#"):
                element.set(attribute, f"url(#{ids[value[5:-1]]})")
    return ElementTree.tostring(root, encoding="unicode")
