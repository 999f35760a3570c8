"""What the arms score, how they differ, what of the gain they keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import (
    COMPARISONS,
    RESULTS,
    SEED_DIFFERENCES,
    SHARES,
    ComparisonRow,
    ResultRow,
    ShareRow,
)
from layersig.recipe.schema import BASE
from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.comparison_table import comparison_table
from layersig.report.document import (
    Block,
    Bullets,
    Column,
    Details,
    Figure,
    Heading,
    Inline,
    Section,
    Table,
    columns,
)
from layersig.report.forests import differences
from layersig.report.material import Material, measure_of
from layersig.report.numbers import (
    count,
    level,
    percent,
    plural,
    value_of,
)
from layersig.report.sentences import sentences
from layersig.report.shares import all_layers_gain
from layersig.report.svg import described, draw
from layersig.topics.claims.section import claims, control_sets, ranks

_ABOUT_LEVELS = (
    "Shares of right answers: Agresti and Coull's interval, with two right and two wrong items added, so that items "
    "that are all right (or all wrong) are not taken for certainty"
)


def section(material: Material) -> Section | None:
    """None when no arm was evaluated."""
    if not material.findings[RESULTS]:
        return None
    parts = (_values, _differences, control_sets, claims, _shares, ranks)
    blocks: list[Block] = [block for part in parts for block in part(material)]
    return Section("arms", "What the arms score", tuple(blocks))


def _values(material: Material) -> list[Block]:
    """One table a data set: arms below each other, measures beside each other; further random sets folded away."""
    findings = material.findings
    trained = list(dict.fromkeys(row.data for row in findings[RESULTS] if row.data is not None))
    tables: list[Block] = []
    further: list[Block] = []
    data_sets: list[str | None] = [*trained] or [None]
    for data in data_sets:
        arms = list(dict.fromkeys(row.arm for row in findings[RESULTS] if row.data in (data, None)))
        tables.append(_value_table(material, data, [arm for arm in arms if arm not in findings.further_controls]))
        if sets := [arm for arm in arms if arm in findings.further_controls]:
            further.append(_value_table(material, data, sets))
    if further:
        tables.append(Details(f"Further random sets ({len(findings.further_controls)})", tuple(further)))
    rest = [row for row in findings[RESULTS] if not row.primary and row.arm not in findings.further_controls]
    if rest:
        every = Table(
            "Every other metric",
            columns("arm", "data", "task", "metric", "#value", "#interval", "#n", "#S"),
            tuple(
                (
                    r.arm,
                    r.data or "\u2013",
                    r.task,
                    r.metric,
                    value_of(measure_of(r), r.value),
                    _ends(measure_of(r), r),
                    str(r.n),
                    str(r.seeds),
                )
                for r in rest
            ),
            "results.csv",
        )
        tables.append(Details("Every other metric", (every,)))
    return tables


def _value_table(material: Material, data: str | None, arms: Sequence[str]) -> Table:
    measures, body = material.primary_measures, []
    for arm in arms:
        line: list[Inline] = [arm]
        for measure in measures:
            row = material.result(measure, arm, data)
            line.append("\u2013" if row is None else _value(measure, row))
        body.append(tuple(line))
    return Table(
        f"Value and {level(material.findings[RESULTS][0].level)} interval{f', trained on {data}' if data else ''}. "
        f"{_ABOUT_LEVELS}",
        (Column("arm"), *(Column(_head(material, measure, data), True) for measure in measures)),
        tuple(body),
        "results.csv",
    )


def _value(measure: Measure, row: ResultRow) -> str:
    return f"{value_of(measure, row.value)} {_ends(measure, row)}".rstrip()


def _ends(measure: Measure, row: ResultRow) -> str:
    """The interval without units, or why there is none."""
    if row.low is None or row.high is None:
        return f"({row.no_interval})"
    return f"[{value_of(measure, row.low)}, {value_of(measure, row.high)}]".replace(" %", "")


def _head(material: Material, measure: Measure, data: str | None) -> str:
    rows = [r for r in material.findings[RESULTS] if measure_of(r) == measure and r.data == data]
    side = "\u2191" if measure.higher_is_better else "\u2193"
    sizes = f", n = {count(rows[0].n)}, S = {max(r.seeds for r in rows)}" if rows else ""
    return f"{measure.task} {measure.metric} {side}{sizes}"


def _differences(material: Material) -> list[Block]:
    rows = [row for row in material.findings[COMPARISONS] if row.primary]
    if not rows:
        return []
    blocks: list[Block] = []
    for role, name, heading, reference in (
        ("baseline", "differences", f"Against {material.findings.baseline}", material.findings.baseline),
        ("contrast", "contrasts", "Named contrasts", "reference"),
        ("all layers", "against-all-layers", "Against all layers", "all-layers"),
        ("other scorer", "between-scorers", "Scorers against each other", "other arm"),
        ("random control", "against-random", "Against its random control", "its random control"),
        ("rule control", "against-rule", "Against the rule of type and depth", "the rule of type and depth"),
    ):
        chosen = [row for row in rows if row.role == role]
        if not chosen:
            continue
        figure = differences(chosen, material.findings[SEED_DIFFERENCES], name, heading, reference)
        blocks += [Heading(heading), figure]
    verdicts = tuple((sentence,) for sentence in _verdicts(material, rows))
    if verdicts:
        blocks.append(Details(f"Verdicts in full ({len(verdicts)})", (Bullets(verdicts),)))
    blocks.append(Details(f"Every comparison ({len(rows)})", (comparison_table(rows),)))
    return blocks


def _verdicts(material: Material, rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """Declared comparisons first; then, task by task, what all layers do there and what is said of the arms."""
    yield from sentences([row for row in rows if row.declared])
    others: dict[tuple[Measure, str | None], list[ComparisonRow]] = {}
    for row in rows:
        if not row.declared:
            others.setdefault((measure_of(row), row.data), []).append(row)
    for (measure, data), several in others.items():
        assay = material.assay(measure, data)
        if assay is not None:
            yield assay.sentence
        yield from sentences([row for row in several if assay is None or row.arm != BASE])


def _shares(material: Material) -> list[Block]:
    primary = [row for row in material.findings[SHARES] if row.primary]
    rows = [row for row in primary if all_layers_gain(material, row)]
    measures = [measure for measure in material.primary_measures if any(measure_of(row) == measure for row in primary)]
    drawn = [measure for measure in measures if any(measure_of(r) == measure and r.shape == "interval" for r in rows)]
    if not drawn:
        return []
    panels = [
        Panel(
            f"{measure.task}, {measure.metric}",
            "share of the gain of all layers that the arm keeps (0 = untouched, 1 = all layers)",
            tuple(_share(row) for row in rows if measure_of(row) == measure),
            reference=1.0,
        )
        for measure in drawn
    ]
    alt = f"Forest plots of the share of the gain that each arm keeps, on {plural(len(panels), 'task')}."
    left_out = len(measures) - len(drawn)
    caption = (
        "(arm \u2212 base) / (all layers \u2212 base), with Fieller's set, which may be unbounded where all "
        "layers gain little."
    )
    if any(row.no_interval is not None for row in rows):
        caption += " Without a bar: nothing varies but in proportion to all layers, so that the error is unknown."
    if left_out:
        caption += (
            f" {plural(left_out, 'task')} left out: all layers are not shown to gain more than the margin there, or so "
            "little that no share is excluded (see the CSV)."
        )
    figure = Figure(
        "shares",
        "Share of the gain kept",
        described(draw(forest(panels), "shares"), alt),
        alt,
        caption,
        ("shares.csv",),
    )
    return [Heading("Share of the gain kept"), figure]


def _share(row: ShareRow) -> ForestRow:
    bounded = row.shape == "interval" and row.low is not None and row.high is not None
    if bounded:
        label = f"{percent(row.share)} [{percent(row.low)}, {percent(row.high)}]".replace(" %", "") + " %"
    else:
        label = f"{percent(row.share)}, {'unbounded' if row.no_interval is None else 'no interval'}"
    tip = (
        f"{row.arm}, trained on {row.data}\n{label}\nFieller's set: {row.shape or row.no_interval}, "
        f"scope: {row.scope}, n = {row.n}, S = {row.seeds}"
    )
    return ForestRow(
        row.arm, row.data or "", row.share, row.low if bounded else None, row.high if bounded else None, (), label, tip
    )
