"""Tables of plain text, for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from layersig.analysis.verdicts import Verdict
from layersig.findings.rows.arms import ComparisonRow

VERDICTS: Mapping[Verdict, str] = {
    Verdict.BETTER_BY_MARGIN: "better beyond margin",
    Verdict.BETTER_SIZE_UNSETTLED: "better",
    Verdict.BETTER_WITHIN_MARGIN: "better within margin",
    Verdict.EQUIVALENT: "within margin",
    Verdict.NOT_WORSE: "not worse",
    Verdict.NOT_BETTER: "not better",
    Verdict.WORSE_WITHIN_MARGIN: "worse within margin",
    Verdict.WORSE_SIZE_UNSETTLED: "worse",
    Verdict.WORSE_BY_MARGIN: "worse beyond margin",
    Verdict.UNDECIDED: "not shown to differ",
    Verdict.NO_ASSAY: "not shown to differ",
    Verdict.REFUSED: "needs more seeds",
}
"""Every verdict in a few words."""
IDENTICAL = "identical"
NO_VERDICT = "no verdict"


def verdict_in_short(row: ComparisonRow) -> str:
    """The verdict of a comparison in two or three words."""
    if row.verdict is not None:
        return VERDICTS[Verdict(row.verdict)]
    return IDENTICAL if row.identical else NO_VERDICT


def aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table, the first row its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
