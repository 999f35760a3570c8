"""Layers of one data set on another: every ranking on every data set."""

from __future__ import annotations

from layersig.findings.outcomes import Measure
from layersig.report.document import Block, Details, Inline, Paragraph, Section, Table, Text, columns
from layersig.report.material import Material
from layersig.report.numbers import difference_of, interval_of, level, p_value, unit_of, value_of
from layersig.topics.carried.rows import CARRIED, CarriedRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None unless arms differ in nothing but whose ranking they read."""
    rows = material.findings[CARRIED]
    if not rows:
        return None
    about: Text = (
        "Rows: the data set whose ranking is read. Columns: the data set that is tuned on, and the measure. On the "
        "diagonal stands the arm with the column's own ranking; the other cells are their differences from it on the "
        f"same items and seeds, with {level(rows[0].level)} intervals. A star marks p below "
        f"{1 - rows[0].level:.2g} after Holm's correction over the whole matrix. No difference shown is no proof of "
        "sameness. Nothing here was declared: all of it is exploratory.",
    )
    blocks: list[Block] = [Paragraph(about)]
    for arms in dict.fromkeys(row.arms for row in rows):
        own = [row for row in rows if row.arms == arms and row.primary]
        for task, metric in _measures(own):
            blocks.append(_matrix(arms, [row for row in own if (row.task, row.metric) == (task, metric)]))
    blocks.append(Details("Every cell", (_cells(rows),)))
    return Section("carried", "Layers of one data set on another", tuple(blocks))


def _measures(rows: list[CarriedRow]) -> list[tuple[str, str]]:
    """The declared outcomes first."""
    ordered = sorted(rows, key=lambda row: not row.outcome)
    return list(dict.fromkeys((row.task, row.metric) for row in ordered))


def _matrix(arms: str, rows: list[CarriedRow]) -> Table:
    data = list(dict.fromkeys(row.data for row in rows))
    found = {(row.ranked_on, row.data): row for row in rows}
    measure = Measure(rows[0].task, rows[0].metric, rows[0].higher_is_better)
    better = "higher" if measure.higher_is_better else "lower"
    caption = f"{rows[0].metric} of {rows[0].task}, {better} is better, differences in {unit_of(measure)}: {arms}"
    body = tuple(
        (ranked_on, *(_cell(measure, found.get((ranked_on, each))) for each in data))
        for ranked_on in dict.fromkeys(row.ranked_on for row in rows)
    )
    return Table(caption, columns("ranked on", *(f"#tuned on {each}" for each in data)), body, "carried.csv")


def _cell(measure: Measure, row: CarriedRow | None) -> Inline:
    if row is None:
        return _NONE
    if row.difference is None:
        return f"own: {value_of(measure, row.value)}"
    star = " *" if row.adjusted_p is not None and row.adjusted_p <= 1 - row.level else ""
    return f"{difference_of(measure, row.difference)} {interval_of(measure, row.low, row.high)}{star}"


def _cells(rows: tuple[CarriedRow, ...]) -> Table:
    heads = columns(
        "ranked on", "tuned on", "arm", "task", "metric", "#value", "#minus own", "#interval", "#p", "#p, corrected",
        "#tests", "#S", "#n",
    )  # fmt: skip
    return Table("Every ranking on every data set", heads, tuple(map(_line, rows)), "carried.csv")


def _line(row: CarriedRow) -> tuple[Inline, ...]:
    measure = Measure(row.task, row.metric, row.higher_is_better)
    return (
        row.ranked_on,
        row.data,
        row.arm,
        row.task,
        row.metric,
        value_of(measure, row.value),
        difference_of(measure, row.difference),
        _NONE if row.difference is None else interval_of(measure, row.low, row.high),
        p_value(row.p),
        p_value(row.adjusted_p),
        _NONE if row.family_size is None else str(row.family_size),
        str(row.seeds),
        str(row.n),
    )
