"""Comparisons of arms: which are declared, the family that each is corrected in, and what may be concluded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from layersig.analysis.sentences import Correction
from layersig.findings.arms import BASE, Arms, ends
from layersig.findings.contrasts import Contrast, Tested
from layersig.findings.corpus import CorpusContrast
from layersig.findings.families import DECLARED, Member
from layersig.findings.rows import ComparisonRow, Role

_EXPLORATORY: dict[Role, str] = {
    "baseline": "exploratory: against baseline",
    "contrast": "exploratory: named contrasts",
    "other scorer": "exploratory: between scorers",
    "random control": "exploratory: against random control",
    "rule control": "exploratory: against rule control",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison before it is corrected and judged.

    Attributes:
        found: The two arms and their difference.
        role: Why they are compared.
        tested: Its test.
        declared: Whether the recipe declares it, and both arms were measured after that.
        primary: Whether it is in the metric that speaks for its task.
    """

    found: Contrast | CorpusContrast
    role: Role
    tested: Tested
    declared: bool
    primary: bool

    @property
    def member(self) -> Member:
        """What it is corrected with.

        The declared ones are one family. Of the others, it is every arm on every primary measure and data set for one
        reason to compare: the claim that some arm differs on some task. The untouched model says nothing about arms and
        stays apart. A secondary metric is a further look at the same answers and in no family.
        """
        if self.declared:
            return Member(DECLARED, self.tested.p)
        if not self.primary or self.tested.p is None:
            return Member(None, self.tested.p)
        if self.found.arm == BASE:
            return Member("exploratory: untouched model", self.tested.p)
        return Member(_EXPLORATORY[self.role], self.tested.p)


def comparisons(arms: Arms) -> Iterator[Comparison]:
    """Every arm against the baseline, what the recipe names, other scorers' arms of its size, and its controls."""
    for found, role in arms.contrasts():
        primary = arms.primary(found.measure)
        # Only the primary metric of an outcome is declared: its others are further looks at the same answers.
        declarable = primary and arms.plan.is_outcome(found.measure, found.data)
        declared = declarable and arms.plan.declared(found, role)
        yield Comparison(found, role, found.test(arms.rng("sign-flip", found)), declared, primary)


def comparison_row(arms: Arms, compared: Comparison, size: int, correction: Correction | None) -> ComparisonRow:
    """A comparison with the verdict that its corrected test and interval allow; `size` is that of its family."""
    found, role, tested = compared.found, compared.role, compared.tested
    estimate, measure = found.estimate, found.measure
    low, high = ends(estimate, arms.level)
    family, primary, outcome = compared.member.family, compared.primary, arms.plan.is_outcome(measure, found.data)
    second = None
    if outcome and role in ("baseline", "contrast"):
        second = found.bootstrap(arms.rng("bootstrap", found), arms.plan.resamples, arms.level)
    margin, verdict = arms.plan.margin(measure), None
    sentence, stated = found.estimation(arms.model, correction, arms.plan.alpha) or (None, None)
    if margin is not None and correction is not None and isinstance(found, Contrast):
        judgement = found.judge(margin, arms.model, correction, arms.moved(found), arms.plan.alpha)
        if judgement is not None:
            verdict, sentence, stated = judgement.verdict.value, judgement.sentence, judgement.interval
    return ComparisonRow(
        arm=found.arm,
        reference=found.reference,
        role=role,
        outcome=outcome,
        data=found.data,
        task=measure.task,
        metric=measure.metric,
        primary=primary,
        higher_is_better=measure.higher_is_better,
        estimate=found.value,
        se=estimate.se if estimate else None,
        df=estimate.df if estimate and isfinite(estimate.df) else None,
        low=low,
        high=high,
        level=arms.level,
        margin=margin,
        test=tested.name,
        p=tested.p,
        no_interval=found.no_interval,
        family=family,
        family_size=None if family is None else size,
        adjusted_p=None if correction is None else correction.p,
        half_width=None if estimate is None else estimate.interval(arms.level).half_width,
        detectable=found.detectable(arms.plan.alpha) if primary else None,
        bootstrap_low=None if second is None else second.low,
        bootstrap_high=None if second is None else second.high,
        n=found.n,
        clusters=found.n_clusters,
        strata=found.n_strata,
        seeds=len(found.seeds),
        scope=found.scope.value,
        declared=compared.declared,
        verdict=verdict,
        stated_low=None if stated is None else stated.low,
        stated_high=None if stated is None else stated.high,
        stated_level=None if stated is None else stated.level,
        sentence=sentence,
    )
