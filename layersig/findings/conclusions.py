"""What a run allows to be said of its arms: comparisons, claims and trends, corrected together where declared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from layersig.findings.arms import Arms
from layersig.findings.claims import claim_row, claims
from layersig.findings.comparisons import comparison_row, comparisons
from layersig.findings.families import corrections
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import ComparisonRow
from layersig.findings.rows.claims import ClaimRow
from layersig.findings.rows.sweeps import SweepRow
from layersig.findings.sweeps import Sweeps


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What may be said.

    Attributes:
        comparisons: Every comparison with its verdict.
        claims: Every claim "as good as all layers" with its conclusion.
        curves: Every curve of a sweep with its trend and its optimum.
        sweeps: The sweeps themselves.
    """

    comparisons: tuple[ComparisonRow, ...]
    claims: tuple[ClaimRow, ...]
    curves: tuple[SweepRow, ...]
    sweeps: Sweeps


def conclusions(arms: Arms) -> Conclusions:
    """Compare all arms that are to be compared, and judge what may be claimed of them and of the sweeps over them."""
    compared = tuple(comparisons(arms))
    claimed = tuple(claims(arms, compared))
    sweeps = Sweeps(arms)
    trends = sweeps.members
    members = [*trends, *(each.member for each in compared)]
    as_good = corrections([*members, *(claim.as_good for claim in claimed)])
    # The last step of a claim is a sequence of its own: it takes the place of the first two in the family.
    selective = corrections([*members, *(claim.selective for claim in claimed)])[len(members) :]
    sizes = Counter([*(member.family for member in members), *(claim.family for claim in claimed)])
    rows = tuple(
        comparison_row(arms, each, sizes[each.member.family], correction)
        for each, correction in zip(compared, as_good[len(trends) :], strict=False)
    )
    by_pair = {(Measure(r.task, r.metric, r.higher_is_better), r.arm, r.reference, r.data): r for r in rows}
    return Conclusions(
        rows,
        tuple(
            claim_row(arms, claim, sizes[claim.family], first, last, by_pair)
            for claim, first, last in zip(claimed, as_good[len(members) :], selective, strict=True)
            if first is not None and last is not None
        ),
        tuple(sweeps.rows(as_good[: len(trends)])),
        sweeps,
    )
