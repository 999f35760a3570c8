"""What is kept over the number of blocks removed."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.lines import Band, Line, LinePanel, line_charts
from layersig.report.document import Bullets, Details, Figure, Inline, Paragraph, Section, Table, Text, columns
from layersig.report.material import Material
from layersig.report.numbers import percent, set_of
from layersig.report.svg import described, draw
from layersig.topics.removal.rows import REMOVAL, RemovalRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None where no two arms differ in the number of blocks that they remove, and in nothing else."""
    rows = [row for row in material.findings[REMOVAL] if row.primary]
    if not rows:
        return None
    level = percent(rows[0].level)
    about = Paragraph(
        (
            "Arms that differ in the number of blocks removed and in nothing else, against the untouched model on the "
            f"same items. A band holds for all points of its curve together at {level} (Bonferroni); between the "
            "points nothing was measured.",
        )
    )
    curves = _curves(rows)
    table = Table(
        "Retention by number of blocks removed; the set is of this point alone, the band of the whole curve",
        columns("arms", "data", "task", "#blocks", "#removed", "#retention", "#set", "#band", "#floor", "scope", "#S"),
        tuple(map(_line, material.findings[REMOVAL])),
        "removal.csv",
    )
    told = Bullets(tuple(_sentence(curve) for curve in curves))
    return Section(
        "removal",
        "What is kept over the number of blocks removed",
        (about, told, _figure(curves), Details("Every point", (table,))),
    )


def _curves(rows: Sequence[RemovalRow]) -> list[list[RemovalRow]]:
    keys = dict.fromkeys((row.series, row.data, row.task, row.format) for row in rows)
    return [[row for row in rows if (row.series, row.data, row.task, row.format) == key] for key in keys]


def _name(row: RemovalRow) -> str:
    what = f"mean over tasks, {row.format}" if row.task is None else f"{row.task} {row.metric}"
    return f"{row.series}: {what}{f', {row.data}' if row.data else ''}"


def _sentence(curve: Sequence[RemovalRow]) -> Text:
    """The least number of blocks at which a loss is shown, by bands that hold for the whole curve."""
    losing = [row for row in curve if row.band_shape == "interval" and row.band_high is not None and row.band_high < 1]
    if not losing:
        return (f"{_name(curve[0])}: no loss is shown up to {curve[-1].removed} of {curve[-1].of} blocks.",)
    first = losing[0]
    return (
        f"{_name(first)}: a loss is first shown at {first.removed} of {first.of} blocks: "
        f"{percent(first.retention)} is kept, at most {percent(first.band_high)}.",
    )


def _figure(curves: Sequence[Sequence[RemovalRow]]) -> Figure:
    panels = []
    for curve in curves:
        points = ((0.0, 100.0), *((float(row.removed), 100 * row.retention) for row in curve))
        lines = [Line("untouched model", ((0.0, 100.0), (float(curve[-1].removed), 100.0)), dashed=True)]
        floor = curve[0].floor
        if floor is not None:
            level = 100 * floor
            lines.append(Line("measured floor", ((0.0, level), (float(curve[-1].removed), level)), dashed=True))
        lines.append(Line("kept", points, tip=_name(curve[0])))
        ends = tuple(
            (float(row.removed), 100 * row.band_low, 100 * row.band_high)
            for row in curve
            if row.band_shape == "interval" and row.band_low is not None and row.band_high is not None
        )
        band = Band(((0.0, 100.0, 100.0), *ends)) if ends else None
        panels.append(LinePanel(_name(curve[0]), "blocks removed", "kept, %", tuple(lines), band))
    alt = f"{len(panels)} curves of retention over the number of blocks removed; every number is in removal.csv."
    return Figure(
        "removal",
        "Retention over blocks removed",
        described(draw(line_charts(panels), "removal"), alt),
        alt,
        "A point is an arm's score over that of the untouched model; the shaded band holds for the whole curve and "
        "leaves out points whose set is no interval.",
        ("removal.csv",),
    )


def _line(row: RemovalRow) -> tuple[Inline, ...]:
    return (
        row.series,
        row.data or _NONE,
        f"mean, {row.format}" if row.task is None else f"{row.task} {row.metric}",
        f"{row.removed} of {row.of}",
        percent(row.removed / row.of),
        percent(row.retention, 1),
        set_of(row.shape, row.low, row.high, percent),
        set_of(row.band_shape, row.band_low, row.band_high, percent),
        percent(row.floor, 1),
        row.scope,
        str(row.seeds),
    )
