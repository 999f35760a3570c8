"""What of the untouched model's abilities is left, by task and by format, with the floors; and what breaks."""

from __future__ import annotations

from layersig.findings.outcomes import Measure
from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.document import Block, Details, Figure, Heading, Inline, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, fixed, percent, range_of, set_of, value_of
from layersig.report.svg import described, draw
from layersig.topics.retention.rows import RETENTION, RETENTION_CLASSES, RETENTION_GAPS, RetentionRow
from layersig.topics.text_probes.rows import CODE_ERRORS, PROBES, ErrorRow, ProbeRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None where nothing was pruned, no task is answered in writing, and no floor was measured."""
    rows = material.findings[RETENTION]
    pruned = (material.run / "models").is_dir()
    if not pruned and not any(row.format == "generation" or row.floor is not None for row in rows):
        return None
    parts = (_classes, _gaps, _tasks, _probes, _errors)
    blocks: list[Block] = [block for part in parts for block in part(material)]
    return Section("retention", "What is kept, and what breaks", tuple(blocks)) if blocks else None


def _classes(material: Material) -> list[Block]:
    rows = material.findings[RETENTION_CLASSES]
    if not rows:
        return []
    caption = (
        "Mean retention by the way a task is answered: arm / untouched model, a mean of ratios over these tasks and no "
        "others; with several training runs the interval counts runs, which the tasks "
        "share, and items. Above the floor only where the untouched model is clear of a measured one. Guessing: what "
        "the best of all constant answers would keep"
    )
    heads = columns(
        "arm",
        "data",
        "answered by",
        "#tasks",
        "#retention",
        "#interval",
        "#guessing",
        "#above the floor",
        "#tasks clear",
        "scope",
        "#S",
    )
    body = tuple(
        (
            r.arm,
            r.data or _NONE,
            r.format,
            str(r.tasks),
            percent(r.retention, 1),
            range_of(r.low, r.high, percent),
            percent(r.constant, 1),
            percent(r.corrected, 1),
            str(r.corrected_tasks),
            r.scope,
            str(r.seeds),
        )
        for r in rows
    )
    return [Table(caption, heads, body, "retention_classes.csv")]


def _gaps(material: Material) -> list[Block]:
    rows = material.findings[RETENTION_GAPS]
    if not rows:
        return []
    caption = (
        "Retention as classification minus retention as generation. The same items asked both ways separate the way to "
        "answer from the items; a gap between tasks describes these tasks. The floor is what a model that does not "
        "know the question would retain"
    )
    heads = columns(
        "arm",
        "data",
        "contrast",
        "classification",
        "generation",
        "#classification kept",
        "#classification floor",
        "#generation kept",
        "#generation floor",
        "#gap",
        "#interval",
        "scope",
        "#S",
    )
    body = tuple(
        (
            r.arm,
            r.data or _NONE,
            "same items" if r.kind == "same items" else "these tasks",
            r.classification,
            r.generation,
            percent(r.classification_retention, 1),
            percent(r.classification_floor, 1),
            percent(r.generation_retention, 1),
            percent(r.generation_floor, 1),
            f"{fixed(100 * r.gap, 1, signed=True)} points",
            range_of(r.low, r.high, lambda end: fixed(100 * end, 1)),
            r.scope,
            str(r.seeds),
        )
        for r in rows
    )
    return [Table(caption, heads, body, "retention_gaps.csv")]


def _tasks(material: Material) -> list[Block]:
    rows = [row for row in material.findings[RETENTION] if row.primary]
    if not rows:
        return []
    heads = columns(
        "arm",
        "data",
        "task",
        "metric",
        "#untouched",
        "#score of the arm",
        "#retention",
        "#set",
        "#floor",
        "#above the floor",
        "#set above the floor",
    )
    body = tuple(_line(row) for row in material.findings[RETENTION])
    caption = (
        "Retention by task: ratio of averages with Fieller's set, an item of every pair of outcomes added where items "
        "are right or wrong. The floor is measured (every item with the question "
        "of another one); above it, (arm \u2212 floor) / (untouched \u2212 floor) only where the untouched model is "
        "more than three standard errors and five points above its floor, else \u201cat floor\u201d"
    )
    table = Table(caption, heads, body, "retention.csv")
    return [*_figure(rows), Details("Retention by task and metric", (table,))]


def _line(row: RetentionRow) -> tuple[Inline, ...]:
    measure = Measure(row.task, row.metric)
    above = "at floor" if row.at_floor else percent(row.corrected, 1)
    return (
        row.arm,
        row.data or _NONE,
        row.task,
        row.metric,
        value_of(measure, row.base),
        value_of(measure, row.value),
        percent(row.retention, 1),
        set_of(row.shape, row.low, row.high, percent),
        _NONE if row.floor is None else value_of(measure, row.floor),
        above if row.floor is not None else _NONE,
        set_of(row.corrected_shape, row.corrected_low, row.corrected_high, percent),
    )


def _figure(rows: list[RetentionRow]) -> list[Block]:
    panels = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task and row.retention is not None]
        floor = next((row.floor / row.base for row in own if row.floor is not None and row.base), None)
        shown = tuple(
            ForestRow(
                row=row.arm,
                group=row.data or _NONE,
                value=100 * (row.retention or 0.0),
                low=100 * row.low if row.low is not None and row.shape == "interval" else None,
                high=100 * row.high if row.high is not None and row.shape == "interval" else None,
                dots=(),
                label=percent(row.retention),
                tip=f"{row.arm}: {percent(row.retention, 1)}, {set_of(row.shape, row.low, row.high, percent)}",
            )
            for row in own
        )
        if floor is not None:
            tip = f"floor of {task}: {percent(floor, 1)} of the untouched model's score"
            shown += (ForestRow("floor", "measured floor", 100 * floor, None, None, (), percent(floor), tip),)
        if shown:
            panels.append(
                Panel(f"{task} {own[0].metric}", "share of the untouched model's score, %", shown, None, 100.0)
            )
    if not panels:
        return []
    title = "Retention by task"
    alt = f"Forest plots of retention for {len(panels)} tasks; every number is in retention.csv."
    svg = described(draw(forest(panels), "retention"), alt)
    caption = "A dot is arm / untouched model in percent, a line Fieller's set where it is an interval."
    return [Figure("retention", title, svg, alt, caption, ("retention.csv",))]


def _probes(material: Material) -> list[Block]:
    rows = material.findings[PROBES]
    if not rows:
        return []
    return [
        Heading("What the responses look like"),
        Paragraph(
            (
                "Rep-n is the share of repeated n-grams of words inside a response, self-BLEU-4 the likeness of its "
                "sentences to each other; neither knows whether the response is right.",
            )
        ),
        Table(
            "Probes of the responses, and their difference from the untouched model's on the same items. With one "
            "training run the interval is over items and concerns these checkpoints; with several it is over runs and "
            "items, both random",
            columns("arm", "data", "task", "probe", "#value", "#responses", "#difference", "#interval", "scope", "#S"),
            tuple(_probe(row) for row in rows),
            "probes.csv",
        ),
    ]


def _probe(row: ProbeRow) -> tuple[Inline, ...]:
    digits = 1 if row.probe == "words" else 3
    return (
        row.arm,
        row.data or _NONE,
        row.task,
        row.probe.replace("_", "-"),
        fixed(row.value, digits),
        count(row.n),
        fixed(row.difference, digits, signed=True),
        row.no_interval or range_of(row.low, row.high, lambda end: fixed(end, digits)),
        _NONE if row.difference is None else row.scope,
        _NONE if row.difference is None else str(row.seeds),
    )


def _errors(material: Material) -> list[Block]:
    rows = material.findings[CODE_ERRORS]
    if not rows:
        return []
    tables = []
    for taxonomy in ("by exception", "of the paper"):
        caption = "How programs ended, by what Python says" if taxonomy == "by exception" else "In the paper's classes"
        heads = columns("arm", "data", "task", "ended with", "#programs", "#of all", "#of errors", "#minus untouched")
        tables.append(
            Table(caption, heads, tuple(map(_error, (r for r in rows if r.taxonomy == taxonomy))), "code_errors.csv")
        )
    return [Heading("How programs end"), tables[0], Details("For comparison: the paper's classes", (tables[1],))]


def _error(row: ErrorRow) -> tuple[Inline, ...]:
    return (
        row.arm,
        row.data or _NONE,
        row.task,
        row.error,
        count(row.count),
        percent(row.share_of_samples, 1),
        percent(row.share_of_errors, 1),
        f"{fixed(100 * row.difference, 1, signed=True)} points",
    )
