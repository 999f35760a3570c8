"""Forest plots of differences between arms."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.analysis.sentences import status_of
from layersig.findings.files import HELDOUT
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import ComparisonRow, SeedDifferenceRow
from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.document import Figure
from layersig.report.material import measure_of
from layersig.report.numbers import count, difference_of, interval_of, level, p_value, plural, unit_of
from layersig.report.svg import described, draw


def differences(
    rows: Sequence[ComparisonRow], by_seed: Sequence[SeedDifferenceRow], name: str, heading: str, reference: str
) -> Figure:
    """One panel a measure, held-out losses first; the verdict of each comparison in its hover text.

    Args:
        rows: Comparisons, at least one.
        by_seed: The differences of single training runs.
        name: File name of the figure.
        heading: What it shows.
        reference: What is subtracted, in words.
    """
    measures = sorted({measure_of(row) for row in rows}, key=lambda m: (not m.task.startswith(f"{HELDOUT}/"), m))
    panels = [_panel(m, [r for r in rows if measure_of(r) == m], by_seed, reference) for m in measures]
    alt = (
        f"Forest plots of arm minus {reference} on {plural(len(panels), 'task')}: estimate, interval, every seed. "
        "The table of comparisons holds the same numbers."
    )
    return Figure(
        name,
        f"{heading}: differences",
        described(draw(forest(panels), name), alt),
        alt,
        f"Diamond: mean difference; bar: {level(rows[0].level)} interval, paired by item"
        f"{' and by seed' if max(r.seeds for r in rows) > 1 else ''}; rings: single seeds; grey band: the margin "
        "within which a difference does not matter; line: no difference; the arrow shows the better side. "
        "Bars that reach the edge go on; the numbers at the right tell how far.",
        ("comparisons.csv", "seed_differences.csv"),
    )


def _panel(
    measure: Measure, rows: Sequence[ComparisonRow], by_seed: Sequence[SeedDifferenceRow], reference: str
) -> Panel:
    scale = 100.0 if measure.is_share else 1.0
    dots: dict[tuple[str, str, str | None], list[float]] = {}
    for one in by_seed:
        if (one.task, one.metric) == (measure.task, measure.metric):
            dots.setdefault((one.arm, one.reference, one.data), []).append(scale * one.difference)
    several = len({row.reference for row in rows}) > 1
    margin = rows[0].margin
    side = "better \u2192" if measure.higher_is_better else "\u2190 better"
    return Panel(
        f"{measure.task}, {measure.metric} (n = {count(rows[0].n)}, S = {max(r.seeds for r in rows)})",
        f"arm \u2212 {reference}, {unit_of(measure)}\u2003{side}",
        tuple(
            _estimated(
                measure,
                row,
                scale,
                dots.get((row.arm, row.reference, row.data), []),
                f"{row.arm} \u2212 {row.reference}" if several else row.arm,
            )
            for row in rows
        ),
        None if margin is None else scale * margin,
    )


def _estimated(measure: Measure, row: ComparisonRow, scale: float, dots: Sequence[float], label: str) -> ForestRow:
    figures = f"{difference_of(measure, row.estimate)} {interval_of(measure, row.low, row.high)}"
    corrected = "" if row.adjusted_p is None else f", corrected {p_value(row.adjusted_p)}"
    tip = (
        f"{row.arm} \u2212 {row.reference}, trained on {row.data}\n{figures} {unit_of(measure)}\n{row.test}, p = "
        f"{p_value(row.p)}{corrected}"
    )
    tip += f"\nscope: {row.scope}, n = {row.n}, S = {row.seeds}"
    if row.verdict is not None:
        tip += f"\n{status_of(row.declared).lower()}: {row.verdict}"
    return ForestRow(
        label,
        row.data or "",
        scale * row.estimate,
        None if row.low is None else scale * row.low,
        None if row.high is None else scale * row.high,
        tuple(dots) if len(dots) > 1 else (),
        figures,
        tip,
    )
