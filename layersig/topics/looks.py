"""The declared looks at the results of a study: how the level is spent on them, and the boundary of each."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.analysis.looks import Look
from layersig.findings.evidence import Evidence
from layersig.findings.rows.base import Row, Table
from layersig.findings.tables import Findings
from layersig.report.document import Paragraph, Section, columns
from layersig.report.document import Table as Shown
from layersig.report.material import Material
from layersig.report.numbers import fixed, number, percent
from layersig.report.topic import Result, Topic


class LookRow(Row):
    """A look of the declared group-sequential design."""

    look: int
    seeds: int
    information: float
    """Seeds over those of the last look."""
    spending: str
    alpha: float
    """Level of all looks together."""
    spent: float
    """The part of it that is spent by this look."""
    level: float
    """Level of a single test at this look."""
    bound: float
    """The same as a boundary of |Z|."""
    current: bool
    """Whether this report is of that look."""


LOOKS = Table("declared_looks", LookRow)


def _compute(evidence: Evidence, found: Findings) -> Result:
    look = evidence.look
    return Result({LOOKS: () if look is None else _rows(look, evidence.recipe.analyze.alpha)})


def _rows(current: Look, alpha: float) -> Iterator[LookRow]:
    for place in range(1, len(current.runs) + 1):
        look = Look(current.runs, place, current.spending)
        yield LookRow(
            look=place,
            seeds=look.runs[place - 1],
            information=look.shares[place - 1],
            spending=look.spending.value,
            alpha=alpha,
            spent=look.spent(alpha),
            level=look.level(alpha),
            bound=look.bound(alpha),
            current=place == current.number,
        )


def section(material: Material) -> Section | None:
    """None where the recipe declares no looks."""
    rows = material.findings[LOOKS]
    if not rows:
        return None
    (now,) = [row for row in rows if row.current]
    said = (
        f"The recipe declares {len(rows)} looks at the results, and this is look {now.look}. A single test rejects "
        f"here at p \u2264 {number(now.level)}, so that all looks together err in at most {percent(now.alpha)} of "
        "studies. "
        "P-values and intervals of differences between arms and of claims allow for this, and so do trends, bands and "
        "optima of sweeps: such a p-value is the smallest overall level at which the boundary of this look is reached, "
        f"and is compared with {number(now.alpha)} after correction. What is said of rankings does not allow for looks."
    )
    heads = columns(
        "#look", "#seeds", "#information", "#level spent so far", "#level of a test", "#boundary of |Z|", ""
    )
    body = tuple(
        (
            str(row.look),
            str(row.seeds),
            percent(row.information),
            number(row.spent),
            number(row.level),
            fixed(row.bound, 3),
            "this one" if row.current else "",
        )
        for row in rows
    )
    caption = f"Group-sequential design, spending function {now.spending} (Lan and DeMets 1983)"
    return Section(
        "looks", "Looks at the results", (Paragraph((said,)), Shown(caption, heads, body, "declared_looks.csv"))
    )


TOPIC = Topic("looks", tables=(LOOKS,), compute=_compute, section=section, place=35)
