"""What the card demands of rankings: tests that hold, correction over pairs and sizes, noise, seeds."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.analysis.agreement_sentences import Across
from layersig.analysis.sharing import MIN_SEEDS_FOR_SHARING
from layersig.findings.rows.layers import RANKINGS, RankingRow
from layersig.records import Cell
from layersig.topics.agreement.rows import OVERLAPS
from layersig.topics.block_agreement.rows import BLOCK_CORRELATIONS
from layersig.topics.ceilings.rows import CEILINGS, CeilingRow
from layersig.topics.dependence.rows import DEPENDENCE
from layersig.topics.milestones.rows import MILESTONES
from layersig.topics.rigor.demand import Demand, Records, span
from layersig.topics.stability.rows import JACCARD_MATRIX, OVERLAP_TESTS, RESIDUAL_TESTS, SHARING, SharingRow

LEAST_SEEDS = MIN_SEEDS_FOR_SHARING
"""Seeds from which on a sharing verdict and the crossed bootstrap exist; fewer leave a handful of degrees of "
"freedom."""


def error_bars(records: Records) -> Demand | None:
    """Intervals of the agreement of trained rankings."""
    keys = {_key(row) for row in _seeded(records)}
    rows = [row for row in records.findings[JACCARD_MATRIX] if {row.a, row.b} <= keys]
    if not rows:
        return None
    known = sum(row.low is not None for row in rows)
    return Demand(known == len(rows), f"{known} of {len(rows)} agreements of rankings have an interval over seeds.")


def tests(records: Records) -> Demand | None:
    """A test that holds where layers depend on depth, for every two rankings that are compared."""
    found = records.findings
    pairs = {(row.a, row.b) for row in found[OVERLAP_TESTS]}
    if not pairs:
        return None
    tested = pairs & {(row.a, row.b) for row in found[RESIDUAL_TESTS]}
    return Demand(
        len(tested) == len(pairs),
        f"{len(tested)} of {len(pairs)} pairs of rankings are tested by a test that holds where neighbouring layers "
        "are "
        f"alike; {len(found[OVERLAP_TESTS])} permutation tests that do not are shown as descriptive.",
    )


def corrections(records: Records) -> Demand | None:
    """Holm's method over pairs of rankings and sizes."""
    found = records.findings
    families: list[list[float | None]] = [
        [row.adjusted_p for row in found[RESIDUAL_TESTS]],
        [row.adjusted_p for row in found[OVERLAP_TESTS]],
        [row.adjusted_p for row in found[CEILINGS] if row.p is not None],
        [row.adjusted_p for row in found[SHARING] if row.p is not None],
    ]
    residual, overlap, ceiling, sharing = (len(family) for family in families)
    if not residual + overlap + ceiling + sharing:
        return None
    return Demand(
        all(p is not None for family in families for p in family),
        f"Holm's method over {residual} pairs of rankings beyond type and depth, over {overlap} overlaps (pairs x "
        "sizes "
        f"x tests), and over {ceiling} noise ceilings and {sharing} claims of sharing (rankings x sizes).",
    )


def declared(records: Records) -> Demand | None:
    """Every test of agreement that the recipe declares was declared before the rankings were scored."""
    named = set(records.recipe.analyze.sharing)
    if not named:
        return None
    found = records.findings
    asked = [
        *(row.declared for row in found[SHARING] if named.issuperset(_scorers(row))),
        *(row.declared for row in found[MILESTONES] if named.issuperset(row.scorers)),
        *(row.declared for row in found[BLOCK_CORRELATIONS] if named.issuperset((row.a, row.b))),
        *(row.declared for row in found[DEPENDENCE] if row.scorer in named),
    ]
    if not asked:
        return Demand(False, "The declared tests of agreement were not made: they take two seeds of each ranking.")
    early = sum(asked)
    return Demand(
        0 < early == len(asked),
        f"{early} of {len(asked)} tests of agreement that the recipe declares were declared before the rankings were "
        "scored; whatever else is said of rankings is exploratory.",
    )


def undeclared(records: Records) -> Demand | None:
    """Nothing is declared, and rankings are spoken of."""
    if not _told(records):
        return None
    return Demand(
        False,
        "Nothing is declared: no arms are compared, and `analyze.sharing` names no scorers. What is said of rankings "
        "is exploratory.",
    )


def effect_sizes(records: Records) -> Demand | None:
    """Agreement corrected for chance, with its interval."""
    rows = [row for row in records.findings[CEILINGS] if row.seeds]
    if not rows:
        return None
    known = sum(row.low is not None for row in rows)
    return Demand(
        known == len(rows), f"{known} of {len(rows)} agreements of seeds, corrected for chance, have an interval."
    )


def seeds(records: Records) -> Demand | None:
    """Enough seeds for a verdict."""
    rows = _seeded(records)
    if not rows:
        return None
    runs = [row.runs for row in rows]
    return Demand(min(runs) >= LEAST_SEEDS, f"S = {span(runs)} seeds per ranking; {LEAST_SEEDS} are needed.")


def power(records: Records) -> Demand | None:
    """Seeds enough for the noise of a ranking to be tested at all."""
    rows = [row for row in records.findings[CEILINGS] if row.seeds]
    if not rows:
        return None
    able = sum(row.above_chance is not None for row in rows)
    return Demand(
        able == len(rows), f"{able} of {len(rows)} noise ceilings (rankings x sizes) have the seeds that a test takes."
    )


def chance(records: Records) -> Demand | None:
    """Overlaps beside chance, and seeds that agree above it."""
    found = records.findings
    if not found[RANKINGS]:
        return None
    rows = [row for row in found[CEILINGS] if row.seeds]
    above = sum(row.above_chance is True for row in rows)
    noisy = ", ".join(dict.fromkeys(map(_named, (row for row in rows if row.above_chance is not True))))
    said = f"{len(found[OVERLAPS])} overlaps are shown beside two exact chance levels. "
    if not rows:
        return Demand(not _seeded(records), said + "The noise ceiling (other seeds, same data) is not known.")
    said += f"In {above} of {len(rows)} rankings x sizes the seeds are shown to agree above chance"
    return Demand(above == len(rows), said + (f"; not in: {noisy}." if noisy else "."))


def _told(records: Records) -> Sequence[RankingRow]:
    """Rankings by scorers that look at the model."""
    return [row for row in records.findings[RANKINGS] if not row.control]


def _seeded(records: Records) -> Sequence[RankingRow]:
    """Those of them that another seed may change: of no seed is what depends on the model alone."""
    fixed = {(row.scorer, row.data, row.checkpoint) for row in records.findings[CEILINGS] if not row.seeds}
    return [row for row in _told(records) if (row.scorer, row.data, row.checkpoint) not in fixed]


def _scorers(row: SharingRow) -> Sequence[str]:
    return row.cells if row.across == Across.SCORERS else (row.scorer,)


def _key(row: RankingRow) -> str:
    return Cell(scorer=row.scorer, data=row.data, checkpoint=row.checkpoint).key


def _named(row: CeilingRow) -> str:
    data = "" if row.data is None else f" on {row.data}"
    return f"{row.scorer}{data} (S = {row.seeds})"
