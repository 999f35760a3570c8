"""What the training after pruning brings back, and what it does not."""

from __future__ import annotations

from layersig.findings.outcomes import Measure
from layersig.report.document import Inline, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, value_of
from layersig.topics.recovery.rows import RECOVERY, RecoveryRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None where no arm is evaluated both as pruned and as recovered."""
    rows = material.findings[RECOVERY]
    if not rows:
        return None
    about = Paragraph(
        (
            "The same blocks removed, before and after the training that follows, on the same items. rep is the share "
            "of repeated n-grams in a response, self-bleu the likeness of its sentences to each other; classes of "
            "errors are shares of all programs. These intervals are not corrected for their number: they describe.",
        )
    )
    heads = columns(
        "pruned",
        "recovered",
        "data",
        "task",
        "quantity",
        "#untouched",
        "#before",
        "#after",
        "#difference",
        "#interval",
        "#n",
        "scope",
        "#S",
    )
    table = Table("Before and after recovery", heads, tuple(map(_line, rows)), "recovery.csv")
    return Section("recovery", "Before and after recovery", (about, table))


def _line(row: RecoveryRow) -> tuple[Inline, ...]:
    measure = Measure(row.task, row.quantity)
    share = row.kind == "metric" and measure.is_share
    scale, digits = (100.0, 1) if share else (1.0, 4 if row.kind == "metric" else 3)

    def shown(value: float | None) -> str:
        return value_of(measure, value) if share else fixed(value, digits)

    known = row.low is not None and row.high is not None
    interval = f"{fixed(scale * (row.low or 0), digits)} to {fixed(scale * (row.high or 0), digits)}" if known else ""
    return (
        row.pruned,
        row.recovered,
        row.data or _NONE,
        row.task,
        row.quantity.replace("_", "-") if row.kind == "probe" else row.quantity,
        shown(row.untouched),
        shown(row.before),
        shown(row.after),
        fixed(scale * row.difference, digits, signed=True),
        interval or row.no_interval or _NONE,
        str(row.n),
        row.scope,
        str(row.seeds),
    )
