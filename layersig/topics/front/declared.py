"""What a recipe declared of rankings, each with its verdict in a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from layersig.analysis.agreement_sentences import Across
from layersig.findings.rows.base import Table
from layersig.report.material import Material, place_of
from layersig.report.numbers import fixed, p_value, percent
from layersig.topics.block_agreement.rows import BLOCK_CORRELATIONS
from layersig.topics.dependence.rows import DEPENDENCE, DependenceRow
from layersig.topics.front.words import listed
from layersig.topics.milestones.rows import MILESTONES, MilestoneRow
from layersig.topics.stability.rows import SHARING, SharingRow

_Sized = TypeVar("_Sized", SharingRow, DependenceRow, MilestoneRow)
_EACH = 3
"""Up to this many tests of one kind are listed one by one; more are counted by verdict."""
_AGREEMENT = {"within": "agreement of seeds", "between": "agreement of data sets"}


def declared_of_rankings(material: Material) -> tuple[str, ...]:
    """Sharing, dependence, milestones and correlations, at the first size; the parts of the report have all sizes."""
    parts = (_sharing, _dependence, _milestones, _correlations)
    return tuple(line for part in parts for line in part(material))


def _declared(material: Material, table: Table[_Sized]) -> tuple[_Sized, ...]:
    """The declared rows of a table at the first size."""
    return tuple(row for row in material.findings[table] if row.declared and row.k in material.findings.sizes[:1])


def _sharing(material: Material) -> Iterator[str]:
    groups: dict[tuple[str, str, str], list[SharingRow]] = {}
    for row in _declared(material, SHARING):
        groups.setdefault((_rankings(row), row.ceiling, row.family), []).append(row)
    for (rankings, ceiling, _), rows in groups.items():
        size = f"{rankings} (top {rows[0].k} of {rows[0].of})"
        if len(rows) > _EACH:
            counts = Counter(row.verdict for row in rows)
            found = listed([f"{verdict} ({times})" for verdict, times in counts.most_common()])
            yield f"{len(rows)} pairs of {rows[0].across}{size}: {found}"
            continue
        for row in rows:
            cells = listed(row.cells) if len(row.cells) <= _EACH else f"All {len(row.cells)} {row.across}"
            figures = f"{fixed(row.ratio, 2)} of that of {ceiling}, lower bound {fixed(row.lower, 2)}"
            agreement = "" if row.ratio is None else f"; agreement is {figures}, margin {fixed(row.margin, 2)}"
            yield f"{cells}{size}: {row.verdict}{agreement}"


def _rankings(row: SharingRow) -> str:
    """Of what, by what and where the cells of a test are rankings."""
    by = "" if row.across == Across.SCORERS else f", by {row.scorer}"
    where = "" if row.data is None else f" on {row.data}"
    at = "" if row.checkpoint in (None, 1.0) else f" at {percent(row.checkpoint)} of the reference training"
    return f"{by}{where}{at}"


def _dependence(material: Material) -> Iterator[str]:
    for row in _declared(material, DEPENDENCE):
        figures = f"{row.statistic} {fixed(row.value, 2)}, p {p_value(row.adjusted_p)}"
        yield f"{row.scorer}, {_AGREEMENT[row.quantity]} against {row.property}: {row.verdict} ({figures})"


def _milestones(material: Material) -> Iterator[str]:
    for row in _declared(material, MILESTONES):
        figures = f"{fixed(row.share, 2)} of the noise ceiling, p {p_value(row.adjusted_p)}"
        found = "" if row.share is None else f" ({figures})"
        yield f"{row.kind} after {percent(row.checkpoint)} of the training on {row.data}: {row.verdict}{found}"


def _correlations(material: Material) -> Iterator[str]:
    for row in material.findings[BLOCK_CORRELATIONS]:
        if row.declared:
            figures = f"{fixed(row.correlation, 2)} [{fixed(row.low, 2)}, {fixed(row.high, 2)}] over blocks"
            beyond = f"; beyond depth {fixed(row.residual, 2)}, p {p_value(row.adjusted_p)}"
            yield (
                f"{row.a} and {row.b} on {place_of(row.data, row.checkpoint)}: correlation {figures}"
                f"{'' if row.residual is None else beyond}"
            )
