"""Tables of plain text, for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from layersig.analysis.verdicts import Verdict

VERDICTS: Mapping[Verdict, str] = {
    Verdict.BETTER_BY_MARGIN: "better",
    Verdict.BETTER_SIZE_UNSETTLED: "better, size open",
    Verdict.BETTER_WITHIN_MARGIN: "better, below margin",
    Verdict.EQUIVALENT: "equivalent",
    Verdict.NOT_WORSE: "not worse, maybe better",
    Verdict.NOT_BETTER: "not better, maybe worse",
    Verdict.WORSE_WITHIN_MARGIN: "worse, below margin",
    Verdict.WORSE_SIZE_UNSETTLED: "worse, size open",
    Verdict.WORSE_BY_MARGIN: "worse",
    Verdict.UNDECIDED: "undecided",
    Verdict.NO_ASSAY: "cannot be told",
    Verdict.REFUSED: "needs more seeds",
}
"""Every verdict in a few words."""


def aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table, the first row its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
