"""Comparisons of arms: which are declared, the family that each is corrected in, and what may be concluded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite

from layersig.analysis.results import Interval
from layersig.analysis.sentences import Correction
from layersig.findings.arms import Arms, ends
from layersig.findings.contrasts import Contrast, NamedTest
from layersig.findings.corpus import CorpusContrast
from layersig.findings.families import DECLARED, Member
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import ComparisonRow
from layersig.findings.rows.base import Role
from layersig.recipe.schema import BASE

_EXPLORATORY: dict[Role, str] = {
    "baseline": "exploratory: against baseline",
    "contrast": "exploratory: named contrasts",
    "all layers": "exploratory: against all layers",
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
        primary: Whether it is in the metric that represents its task.
    """

    found: Contrast | CorpusContrast
    role: Role
    tested: NamedTest
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
        declared = declarable and arms.plan.declared(found)
        yield Comparison(found, role, found.test(arms.rng("sign-flip", found)), declared, primary)


@dataclass(frozen=True, slots=True)
class Terms:
    """What comparisons are judged by.

    Attributes:
        model: Name of the model, for sentences.
        alpha: Level of the family.
        margin: Smallest difference that matters in a measure; None where there is none, and then no verdict.
        moved: Whether all layers are shown to move the untouched model where a comparison was measured; None where the
            question does not arise.
    """

    model: str
    alpha: float
    margin: Callable[[Measure], float | None]
    moved: Callable[[Contrast | CorpusContrast], bool | None]


def row_of(
    compared: Comparison,
    terms: Terms,
    family: str | None,
    size: int,
    correction: Correction | None,
    *,
    outcome: bool = False,
    second: Interval | None = None,
) -> ComparisonRow:
    """A comparison with the verdict that its corrected test and interval allow.

    Args:
        compared: The comparison.
        terms: What it is judged by.
        family: What it is corrected with.
        size: Tests in the family.
        correction: Its place in the family.
        outcome: Whether it is about an outcome of the recipe.
        second: The bootstrap interval, a second opinion.
    """
    found, tested, level = compared.found, compared.tested, 1 - terms.alpha
    estimate, measure = found.estimate, found.measure
    low, high = ends(estimate, level)
    margin, verdict = terms.margin(measure), None
    sentence, stated = found.estimation(terms.model, correction, terms.alpha) or (None, None)
    if margin is not None and correction is not None and isinstance(found, Contrast):
        judgement = found.judge(margin, terms.model, correction, terms.moved(found), terms.alpha)
        if judgement is not None:
            verdict, sentence, stated = judgement.verdict.value, judgement.sentence, judgement.interval
    return ComparisonRow(
        arm=found.arm,
        reference=found.reference,
        role=compared.role,
        data=found.data,
        task=measure.task,
        metric=measure.metric,
        primary=compared.primary,
        higher_is_better=measure.higher_is_better,
        estimate=found.value,
        se=estimate.se if estimate else None,
        df=estimate.df if estimate and isfinite(estimate.df) else None,
        low=low,
        high=high,
        level=level,
        margin=margin,
        test=tested.name,
        p=tested.p,
        no_interval=found.no_interval,
        family=family,
        family_size=None if family is None else size,
        adjusted_p=None if correction is None else correction.p,
        half_width=None if estimate is None else estimate.interval(level).half_width,
        detectable=found.detectable(terms.alpha) if compared.primary else None,
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
        outcome=outcome,
        bootstrap_low=None if second is None else second.low,
        bootstrap_high=None if second is None else second.high,
    )


def comparison_row(arms: Arms, compared: Comparison, size: int, correction: Correction | None) -> ComparisonRow:
    """A comparison of a run's arms; `size` is that of its family."""
    found, role = compared.found, compared.role
    outcome, second = arms.plan.is_outcome(found.measure, found.data), None
    if outcome and role in ("baseline", "contrast"):
        second = found.bootstrap(arms.rng("bootstrap", found), arms.plan.resamples, arms.level)
    return row_of(
        compared,
        Terms(arms.model, arms.plan.alpha, arms.plan.margin, arms.moved),
        compared.member.family,
        size,
        correction,
        outcome=outcome,
        second=second,
    )
