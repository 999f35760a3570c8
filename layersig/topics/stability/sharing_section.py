"""Whether rankings share layers: over data sets, halves of one, and scorers; a part of what a ranking is worth."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.analysis.sentences import status_of
from layersig.report.document import Block, Bullets, Details, Heading, Paragraph, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, level, p_value
from layersig.topics.stability.rows import SHARING, SharingRow

_MOST_SENTENCES = 24


def sharing(material: Material) -> list[Block]:
    """Nothing where there is one ranking with seeds."""
    rows = material.findings[SHARING]
    if not rows:
        return []
    together = [row for row in rows if row.family.endswith("together")]
    pairs = [row for row in rows if not row.family.endswith("together")]
    together.sort(key=lambda row: not row.declared)
    pairs.sort(key=lambda row: not row.declared)
    blocks: list[Block] = [Heading("Do rankings share layers?")]
    if together:
        blocks += [Bullets(tuple((row.sentence,) for row in together)), _tests(together, "all at once")]
    if pairs:
        said = Bullets(tuple((row.sentence,) for row in pairs[:_MOST_SENTENCES]))
        blocks += [_tests(pairs, "two by two"), Details("The same in words", (said,))]
    return [*blocks, _opposite(rows), _limits()]


def _tests(rows: Sequence[SharingRow], which: str) -> Table:
    return Table(
        f"Is agreement between rankings as high as that of the ceiling, {which}? An equivalence claim at every size; "
        "p is one-sided, by Holm's method over the rankings and sizes that are compared across the same thing, with "
        "declared tests apart from exploratory ones",
        columns(
            "across",
            "rankings",
            "ceiling",
            "status",
            "#k",
            "#ratio to the ceiling",
            "#one-sided lower bound",
            "#margin",
            "#p",
            "verdict on sharing",
            "#S",
        ),
        tuple(
            (
                r.across,
                _named(r),
                r.ceiling,
                status_of(r.declared).lower(),
                str(r.k),
                fixed(r.ratio, 2),
                fixed(r.lower, 2),
                fixed(r.margin, 2),
                p_value(r.adjusted_p),
                r.verdict,
                str(r.seeds),
            )
            for r in rows
        ),
        "sharing.csv",
    )


def _opposite(rows: Sequence[SharingRow]) -> Table:
    whole = tuple({(row.scorer, row.checkpoint, row.cells, row.data): row for row in rows}.values())
    return Table(
        "The opposite question, of whole rankings: the correlation between them, corrected for the noise of each "
        "(1: they differ in noise alone), with the one-sided p of its being below 1; and whether runs are exchangeable "
        "between them, by relabelling whole runs, with the least p that this design can give. No p is corrected",
        columns(
            "rankings",
            f"#corrected correlation [{level(rows[0].level)} interval]",
            "#p, below 1",
            "#p, exchangeable",
            "#least p possible",
            "#S",
        ),
        tuple(
            (
                _named(r),
                "\u2013"
                if r.corrected is None
                else f"{fixed(r.corrected, 2)} [{fixed(r.corrected_low, 2)}, {fixed(r.corrected_high, 2)}]",
                p_value(r.p_different),
                p_value(r.p_exchangeable),
                p_value(r.least_p),
                str(r.seeds),
            )
            for r in whole
        ),
        "sharing.csv",
    )


def _named(row: SharingRow) -> str:
    """The scorer with the data sets, or the scorers with theirs."""
    if row.across == "scorers":
        return f"{', '.join(row.cells)} on {row.data}"
    return f"{row.scorer} on {', '.join(row.cells)}"


def _limits() -> Paragraph:
    return Paragraph(
        (
            "Agreement between rankings is that of different seeds, since runs of one seed may share a training. All "
            "concern these samples of rows: two samples of one source differ too, when all seeds of a sample see the "
            "same rows. Where every data set is there in two halves (`half` in `[[data]]`), their agreement is the "
            "ceiling. Exchangeability is more than equal structure: rankings whose noise differs widely in size are "
            "not exchangeable.",
        )
    )
