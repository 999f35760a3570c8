"""What a run allows to be said of its arms: comparisons and claims, corrected together where they are declared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from layersig.findings.arms import Arms
from layersig.findings.claims import claim_row, claims
from layersig.findings.comparisons import comparison_row, comparisons
from layersig.findings.families import corrections
from layersig.findings.outcomes import Measure
from layersig.findings.rows import ClaimRow, ComparisonRow


@dataclass(frozen=True, slots=True)
class Conclusions:
    """Every comparison with its verdict, and every claim "as good as all layers" with its conclusion."""

    comparisons: tuple[ComparisonRow, ...]
    claims: tuple[ClaimRow, ...]


def conclusions(arms: Arms) -> Conclusions:
    """Compare all arms that are to be compared, and judge what may be claimed of them."""
    compared = tuple(comparisons(arms))
    claimed = tuple(claims(arms, compared))
    members = [each.member for each in compared]
    as_good = corrections([*members, *(claim.as_good for claim in claimed)])
    # The last step of a claim is a sequence of its own: it takes the place of the first two in the family.
    selective = corrections([*members, *(claim.selective for claim in claimed)])[len(members) :]
    sizes = Counter([*(member.family for member in members), *(claim.family for claim in claimed)])
    rows = tuple(
        comparison_row(arms, each, sizes[each.member.family], correction)
        for each, correction in zip(compared, as_good, strict=False)
    )
    by_pair = {(Measure(r.task, r.metric, r.higher_is_better), r.arm, r.reference, r.data): r for r in rows}
    return Conclusions(
        rows,
        tuple(
            claim_row(arms, claim, sizes[claim.family], first, last, by_pair)
            for claim, first, last in zip(claimed, as_good[len(members) :], selective, strict=True)
            if first is not None and last is not None
        ),
    )
