"""Comparisons of arms as tables of plain text, for `layersig compare`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.findings.rows.arms import ComparisonRow
from layersig.report.numbers import plural
from layersig.report.terminal import aligned, verdict_in_short

_HEAD = ("arm", "difference", "interval", "p", "verdict", "items", "seeds (claim about)")


def comparison_text(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """A table for every metric of a task; differences are in the unit of the metric."""
    common = _common_run(rows)
    by_metric: dict[tuple[str, str, str], list[ComparisonRow]] = {}
    for row in rows:
        by_metric.setdefault((row.reference, row.task, row.metric), []).append(row)
    for (reference, task, metric), of_metric in by_metric.items():
        better = "higher" if of_metric[0].higher_is_better else "lower"
        margins = {f", margin {row.margin:g}" for row in of_metric if row.verdict is not None}
        yield f"{task} {metric} ({better} is better{''.join(margins)}): difference to {reference.removeprefix(common)}"
        yield from (f"  {line}" for line in aligned([_HEAD, *(_cells(row, common) for row in of_metric)]))
        yield ""
    if common:
        yield f"arms of the run {common.rstrip(':')}"
    tests = max((row.family_size or 0 for row in rows), default=0)
    yield f"exploratory; p and interval are corrected for {plural(tests, 'test')} where there is a verdict"


def _common_run(rows: Sequence[ComparisonRow]) -> str:
    """`RUN:` if all arms are of one run; empty if not."""
    runs = {name.rpartition(":")[0] for row in rows for name in (row.arm, row.reference)}
    return f"{runs.pop()}:" if len(runs) == 1 and runs != {""} else ""


def _cells(row: ComparisonRow, common: str) -> tuple[str, ...]:
    low, high, level = row.low, row.high, row.level
    if row.stated_level is not None:  # corrected: what the verdict follows from
        low, high, level = row.stated_low, row.stated_high, row.stated_level
    ends = "none" if low is None or high is None else f"{low:+.4f} to {high:+.4f} ({100 * level:.4g} %)"
    p = row.p if row.adjusted_p is None else row.adjusted_p
    return (
        row.arm.removeprefix(common),
        f"{row.estimate:+.4f}",
        ends,
        "\u2013" if p is None else f"{p:.3g}",
        verdict_in_short(row),
        f"{row.n}",
        f"{row.seeds} ({row.scope})",
    )
