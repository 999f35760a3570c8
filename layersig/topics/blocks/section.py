"""One block left out at a time: what is kept of each task, and what breaks in what the model writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.findings.outcomes import Measure
from layersig.report.charts.lines import Band, Line, LinePanel, line_charts
from layersig.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Figure,
    Inline,
    Paragraph,
    Section,
    Table,
    Text,
    columns,
)
from layersig.report.material import Material
from layersig.report.numbers import fixed, p_value, percent, range_of, set_of, value_of
from layersig.report.svg import described, draw
from layersig.topics.blocks.rows import BLOCK_MEANS, BLOCK_RETENTION, BLOCKS, BlockMeanRow, BlockRetentionRow, BlockRow

_NONE = "\u2013"
_DRAWN = ("rep", "self_bleu", "bracket")
"""Probes and classes of errors that have a figure."""


def section(material: Material) -> Section | None:
    """None where no scorer left blocks out on tasks."""
    scorers = dict.fromkeys(row.scorer for row in material.findings[BLOCKS])
    if not scorers:
        return None
    blocks: list[Block] = [Paragraph((_about(material),))]
    for scorer in scorers:
        blocks += _of_scorer(material, scorer)
    return Section("blocks", "One block left out at a time", tuple(blocks))


def _about(material: Material) -> str:
    level = percent(1 - material.findings.alpha)
    return (
        "Every task is measured with all blocks and without each of them, on the same items. Bands hold for all blocks "
        f"of a panel together at {level}, and p (max-T) is corrected for the largest of them, so that the worst block "
        "may be named; q is Benjamini and Hochberg's p over all blocks and tasks of the sweep. The loss of a block "
        "that was picked for its size is overstated; measure that block on other items before relying on it. Items are "
        "random, the model is this one."
    )


def _of_scorer(material: Material, scorer: str) -> Iterator[Block]:
    findings = material.findings
    rows = [row for row in findings[BLOCKS] if row.scorer == scorer]
    kept = [row for row in findings[BLOCK_RETENTION] if row.scorer == scorer]
    means = [row for row in findings[BLOCK_MEANS] if row.scorer == scorer]
    metrics = [row for row in rows if row.kind == "metric"]
    yield Bullets((*_sentences(metrics, findings.alpha), *_changes(rows, findings.alpha)))
    yield from _kept_figure(scorer, kept, means)
    yield from _broken_figure(scorer, rows, kept)
    yield Details(f"Every block and task of {scorer}", tuple(_tables(metrics, kept, means)))
    broken = [row for row in rows if row.kind != "metric"]
    if broken:
        yield Details(f"Responses and programs of {scorer}", (_broken_table(broken),))


def _sentences(metrics: Sequence[BlockRow], alpha: float) -> Iterator[Text]:
    """For every task, which blocks are shown to be missed, the worst first."""
    for task in dict.fromkeys(row.task for row in metrics):
        own = [row for row in metrics if row.task == task and row.primary]
        measure = Measure(task, own[0].quantity)
        missed = [row for row in own if row.p_max_t is not None and row.p_max_t <= alpha and row.difference != 0]
        sign = 1.0 if measure.higher_is_better else -1.0
        worse = sorted((row for row in missed if sign * row.difference < 0), key=lambda row: sign * row.difference)
        better = [row.block for row in missed if sign * row.difference > 0]
        named = "; ".join(f"{row.block} ({value_of(measure, row.without)})" for row in worse)
        text = (
            f": {value_of(measure, own[0].whole)} with all blocks, {own[0].n} items. "
            + (f"Shown to be missed: {named}. " if worse else "No block is shown to be missed. ")
            + (f"Better without: {', '.join(map(str, better))}. " if better else "")
            + f"{len(own) - len(missed)} of {len(own)} blocks cannot be distinguished from the whole model."
        )
        yield Code(task), f" {measure.metric}", text


def _changes(rows: Sequence[BlockRow], alpha: float) -> Iterator[Text]:
    """Probes and errors that are shown to change without some block, the largest change first."""
    drawn = [row for row in rows if row.kind != "metric" and row.quantity in _DRAWN]
    for task, quantity in dict.fromkeys((row.task, row.quantity) for row in drawn):
        own = [row for row in drawn if (row.task, row.quantity) == (task, quantity)]
        shown = [row for row in own if row.p_max_t is not None and row.p_max_t <= alpha and row.difference != 0]
        shown.sort(key=lambda row: -abs(row.difference))
        if shown:
            named = "; ".join(f"{row.block} ({fixed(row.without, 3)})" for row in shown)
            text = f": {fixed(own[0].whole, 3)} with all blocks. Shown to change without: {named}."
            yield Code(task), f" {_name(quantity)}", text


def _kept_figure(scorer: str, kept: Sequence[BlockRetentionRow], means: Sequence[BlockMeanRow]) -> Iterator[Figure]:
    panels = []
    for form in dict.fromkeys(row.format for row in means):
        own = [row for row in means if row.format == form]
        if own[0].tasks > 1:
            points = [(row.block, row.retention, row.band_low, row.band_high) for row in own]
            panels.append(_kept_panel(f"mean of {own[0].tasks} tasks, {form}", points, None))
    for task in dict.fromkeys(row.task for row in kept):
        rows = [row for row in kept if row.task == task and row.primary and row.retention is not None]
        if rows:
            ends = [(row.band_low, row.band_high) if row.band_shape == "interval" else (None, None) for row in rows]
            points = [(row.block, row.retention or 0.0, *end) for row, end in zip(rows, ends, strict=True)]
            floor = rows[0].floor
            share = floor / rows[0].whole if floor is not None and rows[0].whole else None
            panels.append(_kept_panel(f"{task} {rows[0].metric}", points, share))
    if panels:
        yield _figure(
            f"blocks-{scorer}",
            f"What is kept without each block ({scorer})",
            panels,
            "A point is the score without the block over that of the whole model; the shaded band holds for all blocks "
            "of the panel together, and leaves out blocks whose set is no interval. Dashed: the whole model, and the "
            "measured floor.",
            ("block_retention.csv", "block_means.csv"),
        )


def _kept_panel(
    title: str, points: Sequence[tuple[int, float, float | None, float | None]], floor: float | None
) -> LinePanel:
    first, last = points[0][0], points[-1][0]
    lines = [_level("whole model", 100.0, first, last)]
    if floor is not None:
        lines.append(_level("floor", 100 * floor, first, last))
    curve = tuple((float(block), 100 * value) for block, value, *_ in points)
    lines.append(Line("without the block", curve, tip=title))
    band = tuple(
        (float(b), 100 * low, 100 * high) for b, _, low, high in points if low is not None and high is not None
    )
    return LinePanel(title, "block left out", "kept, %", tuple(lines), Band(band) if band else None)


def _broken_figure(scorer: str, rows: Sequence[BlockRow], kept: Sequence[BlockRetentionRow]) -> Iterator[Figure]:
    """Probes, programs, and the metrics of which a share has no meaning."""
    panels = []
    ratios = {(row.task, row.metric) for row in kept}
    drawn = [
        row
        for row in rows
        if (row.task, row.quantity) not in ratios and (row.kind == "metric" or row.quantity in _DRAWN)
    ]
    for task, quantity in dict.fromkeys((row.task, row.quantity) for row in drawn):
        own = [row for row in drawn if (row.task, row.quantity) == (task, quantity)]
        band = tuple(
            (float(row.block), row.band_low, row.band_high)
            for row in own
            if row.band_low is not None and row.band_high is not None
        )
        curve = Line("without the block", tuple((float(row.block), row.difference) for row in own), tip=task)
        title = f"{task}: {'programs that end with ' if own[0].kind == 'code error' else ''}{_name(quantity)}"
        level = _level("whole model", 0.0, own[0].block, own[-1].block)
        panels.append(LinePanel(title, "block left out", "difference", (level, curve), Band(band) if band else None))
    if panels:
        yield _figure(
            f"blocks-broken-{scorer}",
            f"What breaks without each block ({scorer})",
            panels,
            "Difference from the whole model on the same items: rep is the share of repeated n-grams in a response, "
            "self-bleu the likeness of its sentences to each other, bracket the share of programs whose brackets do "
            "not match, logprob the log-probability of the right answer in nats. Bands hold for all blocks of a panel "
            "together.",
            ("blocks.csv",),
        )


def _level(name: str, y: float, first: int, last: int) -> Line:
    return Line(name, ((float(first), y), (float(last), y)), dashed=True)


def _figure(name: str, title: str, panels: Sequence[LinePanel], caption: str, csv: tuple[str, ...]) -> Figure:
    alt = f"{len(panels)} line charts over blocks; every number is in {' and '.join(csv)}."
    return Figure(name, title, described(draw(line_charts(panels), name), alt), alt, caption, csv)


def _tables(
    metrics: Sequence[BlockRow], kept: Sequence[BlockRetentionRow], means: Sequence[BlockMeanRow]
) -> Iterator[Table]:
    if any(row.tasks > 1 for row in means):
        yield Table(
            "Mean retention over the tasks of a format, these tasks and no others",
            columns("answered by", "#block", "#retention", "#interval", "#band", "#tasks"),
            tuple(
                (
                    row.format,
                    str(row.block),
                    percent(row.retention, 1),
                    range_of(row.low, row.high, percent),
                    range_of(row.band_low, row.band_high, percent),
                    str(row.tasks),
                )
                for row in means
            ),
            "block_means.csv",
        )
    ratios = {(row.task, row.metric, row.block): row for row in kept}
    yield Table(
        "Scores without each block. The retention's band is Fieller's set at the level at which those of all blocks "
        "hold together; above the floor only where the whole model is clear of a measured one",
        columns(
            "task",
            "metric",
            "#block",
            "#whole",
            "#without",
            "#retention",
            "#band of the retention",
            "#above the floor",
            "#difference",
            "#band of the difference",
            "#p (max-T)",
            "#q",
        ),
        tuple(_line(row, ratios.get((row.task, row.quantity, row.block))) for row in metrics),
        "blocks.csv",
    )


def _line(row: BlockRow, ratio: BlockRetentionRow | None) -> tuple[Inline, ...]:
    measure = Measure(row.task, row.quantity)
    scale, digits = (100.0, 1) if measure.is_share else (1.0, 4)
    above = _NONE
    if ratio is not None and ratio.floor is not None:
        above = "at floor" if ratio.at_floor else percent(ratio.corrected, 1)
    return (
        row.task,
        row.quantity,
        str(row.block),
        value_of(measure, row.whole),
        value_of(measure, row.without),
        _NONE if ratio is None else percent(ratio.retention, 1),
        _NONE if ratio is None else set_of(ratio.band_shape, ratio.band_low, ratio.band_high, percent),
        above,
        fixed(scale * row.difference, digits, signed=True),
        row.no_interval or range_of(row.band_low, row.band_high, lambda end: fixed(scale * end, digits)),
        p_value(row.p_max_t),
        p_value(row.p_bh),
    )


def _broken_table(rows: Sequence[BlockRow]) -> Table:
    return Table(
        "Probes of the responses and ends of programs, as shares, without each block",
        columns("task", "quantity", "#block", "#whole", "#without", "#difference", "#band", "#p (max-T)", "#q", "#n"),
        tuple(
            (
                row.task,
                _name(row.quantity),
                str(row.block),
                fixed(row.whole, 3),
                fixed(row.without, 3),
                fixed(row.difference, 3, signed=True),
                row.no_interval or range_of(row.band_low, row.band_high, lambda end: fixed(end, 3)),
                p_value(row.p_max_t),
                p_value(row.p_bh),
                str(row.n),
            )
            for row in rows
        ),
        "blocks.csv",
    )


def _name(quantity: str) -> str:
    return quantity.replace("_", "-")
