"""What a run allows to be said of its arms: comparisons, claims and trends, corrected together where declared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from layersig.findings.arms import Arms
from layersig.findings.claims import claim_row, claims
from layersig.findings.comparisons import comparison_row, comparisons
from layersig.findings.families import stepwise_corrections
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
    members = [*trends, *(each.member for each in compared), *(claim.member for claim in claimed)]
    found = stepwise_corrections(members)
    of_trends, of_pairs = found[: len(trends)], found[len(trends) : len(trends) + len(compared)]
    of_claims = found[len(trends) + len(compared) :]
    sizes = Counter(member.family for member in members)
    rows = tuple(
        comparison_row(arms, each, sizes[each.member.family], correction)
        for each, (correction, _) in zip(compared, of_pairs, strict=True)
    )
    by_pair = {(Measure(r.task, r.metric, r.higher_is_better), r.arm, r.reference, r.data): r for r in rows}
    return Conclusions(
        rows,
        tuple(
            claim_row(arms, claim, first, last, by_pair)
            for claim, (first, last) in zip(claimed, of_claims, strict=True)
            if first is not None
        ),
        tuple(sweeps.rows([correction for correction, _ in of_trends])),
        sweeps,
    )
