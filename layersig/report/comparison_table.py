"""The table of comparisons of arms."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.analysis.sentences import status_of
from layersig.findings.rows.arms import ComparisonRow
from layersig.report.document import (
    Inline,
    Table,
    columns,
)
from layersig.report.material import measure_of
from layersig.report.numbers import (
    difference_of,
    interval_of,
    number,
    p_value,
)
from layersig.report.terminal import IDENTICAL


def comparison_table(rows: Sequence[ComparisonRow]) -> Table:
    """Every comparison with its interval, test, adjusted p-value and verdict."""
    body = []
    for row in rows:
        measure = measure_of(row)
        line: tuple[Inline, ...] = (
            row.arm,
            row.reference,
            row.data or "\u2013",
            f"{row.task} {row.metric}",
            difference_of(measure, row.estimate),
            interval_of(measure, row.low, row.high),
            interval_of(measure, row.bootstrap_low, row.bootstrap_high) if row.bootstrap_low is not None else "\u2013",
            _margin(row),
            _detectable(row),
            row.test,
            p_value(row.p),
            p_value(row.adjusted_p),
            str(row.n),
            str(row.seeds),
            row.scope,
            status_of(row.declared).lower(),
            row.verdict or (IDENTICAL if row.identical else "\u2013"),
        )
        body.append(line)
    heads = columns(
        "arm",
        "reference",
        "data",
        "task",
        "#difference",
        "#interval",
        "#crossed bootstrap",
        "#margin",
        "#detectable",
        "test",
        "#p",
        "#p (Holm)",
        "#n",
        "#S",
        "scope",
        "status",
        "verdict",
    )
    caption = (
        "Arm minus reference, on the same items and seeds. Interval, of one comparison alone: for items that are "
        "right or wrong, Tango's score interval (one run) or the two-way one with a win and a loss added (several); "
        "none where nothing varies, as between identical arms. Detectable: what a new study of this size would find "
        "with 80 % power, planned with the upper 80 % limit of the error seen here. p (Holm): over everything that is "
        "declared, claims among it; of what is exploratory, over all arms, tasks and data sets that are compared for "
        "one reason. A verdict needs it, and sizes (by more than the margin, equivalent, not worse) an interval "
        "corrected for the same family, which the sentence states. The crossed bootstrap over seeds and items needs "
        "five seeds and is a second opinion beside the two-way interval"
    )
    return Table(caption, heads, tuple(body), "comparisons.csv")


def _detectable(row: ComparisonRow) -> str:
    if row.detectable is None:
        return "\u2013"
    measure = measure_of(row)
    if measure.is_share and row.detectable >= 1:
        return "no difference"
    return difference_of(measure, row.detectable).removeprefix("+")


def _margin(row: ComparisonRow) -> str:
    if row.margin is None:
        return "\u2013"
    return f"{number(100 * row.margin, 2)} points" if measure_of(row).is_share else f"{number(row.margin, 2)}"
