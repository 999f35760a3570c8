"""The data as the run saw it: counts, template, and an example of what the model reads."""

from __future__ import annotations

from typing import Any

from layersig.report.document import Block, Code, Column, Inline, Listing, Section, Table
from layersig.report.material import Material
from layersig.report.numbers import count


def section(material: Material) -> Section | None:
    """None when no data stage left its record."""
    reports = material.files.data_reports
    if not reports:
        return None
    short = {
        name: [(key, value) for key, value in _flat(report) if not _long(value)] for name, report in reports.items()
    }
    keys = list(dict.fromkeys(key for pairs in short.values() for key, _ in pairs))
    body: list[tuple[Inline, ...]] = [(key, *(_shown(dict(short[name]).get(key)) for name in reports)) for key in keys]
    table = Table(
        "What the data stages recorded", (Column("record"), *(Column(name, True) for name in reports)), tuple(body)
    )
    listings: list[Block] = [
        Listing(f"{name}: {key}", value)
        for name, report in reports.items()
        for key, value in _flat(report)
        if isinstance(value, str) and _long(value)
    ]
    return Section("data", "Data and prompts", (table, *listings))


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Every leaf of a record with the path of its keys."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{prefix}{key}: ")]
    if isinstance(value, list):
        text = ", ".join(map(str, value)) if not any(isinstance(inner, dict | list) for inner in value) else None
        if text is not None:
            return [(prefix.removesuffix(": "), text)]
        return [pair for i, inner in enumerate(value) for pair in _flat(inner, f"{prefix}{i}: ")]
    return [(prefix.removesuffix(": "), value)]


def _long(value: object) -> bool:
    return isinstance(value, str) and ("\n" in value or len(value) > 80)


def _shown(value: object) -> Inline:
    match value:
        case None:
            return "\u2013"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return count(value)
        case _:
            return Code(str(value))
