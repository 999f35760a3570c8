"""The sentences of comparisons as a report shows them: every one of `analysis.json`, and one for all that is open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.analysis.verdicts import Verdict
from layersig.findings.rows.arms import ComparisonRow
from layersig.report.material import measure_of
from layersig.report.numbers import difference_of, unit_of


def sentences(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """What is said of comparisons on one measure and data set.

    What is declared is said in full, whatever came out. Of the others, those that decide something; the rest share one
    sentence for each reference.
    """
    open_ones: dict[str, list[ComparisonRow]] = {}
    for row in rows:
        if row.sentence is None:
            continue
        if row.declared or row.verdict is None or not Verdict(row.verdict).open:
            yield row.sentence
        else:
            open_ones.setdefault(row.reference, []).append(row)
    for reference, several in open_ones.items():
        yield str(several[0].sentence) if len(several) == 1 else _nothing_shown(reference, several)


def _nothing_shown(reference: str, rows: Sequence[ComparisonRow]) -> str:
    measure, estimates = measure_of(rows[0]), [row.estimate for row in rows]
    ends = f"{difference_of(measure, min(estimates))} to {difference_of(measure, max(estimates))} {unit_of(measure)}"
    return (
        f"Exploratory: no difference from {reference} is shown of {', '.join(row.arm for row in rows)} "
        f"in {measure.metric} of {measure.task}, trained on {rows[0].data} (n = {rows[0].n}, S = {rows[0].seeds}): "
        f"differences of {ends}. That is no proof of sameness; the table has their intervals."
    )
