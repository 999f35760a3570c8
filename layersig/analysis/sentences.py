"""Sentences: what is said of one comparison.

Every sentence begins with `Declared:` or `Exploratory:` and holds the interval and the p-value that its verdict follows
from.
"""

from dataclasses import dataclass
from typing import Literal

from layersig.analysis.claim import (
    Claim,
    Favourable,
    turned_for,
)
from layersig.analysis.results import Interval
from layersig.analysis.verdicts import Evidence, Scope, Verdict, verdict_of

_PHRASES = {
    Verdict.BETTER_BY_MARGIN: "{arm} is better than {reference} by more than the margin",
    Verdict.BETTER_SIZE_UNSETTLED: "{arm} is better than {reference} (size unsettled)",
    Verdict.BETTER_WITHIN_MARGIN: "{arm} is better than {reference} but within the margin",
    Verdict.EQUIVALENT: "{arm} and {reference} are equivalent",
    Verdict.NOT_WORSE: "{arm} is not worse than {reference} by more than the margin",
    Verdict.NOT_BETTER: "{arm} is not better than {reference} by more than the margin",
    Verdict.WORSE_WITHIN_MARGIN: "{arm} is worse than {reference} but within the margin",
    Verdict.WORSE_SIZE_UNSETTLED: "{arm} is worse than {reference} (size unsettled)",
    Verdict.WORSE_BY_MARGIN: "{arm} is worse than {reference} by more than the margin",
    Verdict.UNDECIDED: "undecided between {arm} and {reference}",
    Verdict.NO_ASSAY: "no difference is shown between {arm} and {reference}",
}


@dataclass(frozen=True, slots=True)
class Correction:
    """The family that a comparison belongs to.

    Attributes:
        declared: Whether the comparison was declared before it was measured.
        tests: Tests in the family, itself included.
        p: P-value of "no difference", adjusted by Holm's method over the family.
    """

    declared: bool
    tests: int
    p: float

    @property
    def status(self) -> str:
        """How a sentence begins."""
        return status_of(self.declared)


@dataclass(frozen=True, slots=True)
class RequiredSize:
    """The sample size with which two equal arms are found equivalent with 80 % power.

    Attributes:
        count: Number of items or seeds; None if no number suffices.
        of: The unit of `count`.
    """

    count: int | None
    of: Literal["items", "seeds"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its sentence.

    Attributes:
        verdict: The verdict.
        sentence: It in full.
        interval: The interval in the sentence, which the verdict follows from; None where nothing was judged.
    """

    verdict: Verdict
    sentence: str
    interval: Interval | None


def status_of(declared: bool) -> str:
    """How a sentence begins: with what makes it confirmatory or not."""
    return "Declared" if declared else "Exploratory"


def judge(
    evidence: Evidence,
    margin: float,
    claim: Claim,
    correction: Correction,
    *,
    moved: bool | None = None,
    needed: RequiredSize | None = None,
    alpha: float = 0.05,
) -> Judgement:
    """Verdict and sentence of one comparison.

    Args:
        evidence: Arm minus reference in the unit of the metric.
        margin: Smallest difference that matters, same unit, positive.
        claim: What the sentence names.
        correction: The family of the comparison, with its adjusted p-value.
        moved: Whether all layers are shown to move the untouched model by more than the margin, up or down
            (`assay`); only claims of sameness need it. None where the question does not arise.
        needed: What an undecided comparison would take, at the level divided by the number of tests.
        alpha: Level of the family.

    Returns:
        `REFUSED` for scope `method` with one run per arm; `NO_ASSAY` instead of a claim of sameness where all
        layers are not shown to move the untouched model; else the verdict of the interval.
    """
    if claim.scope is Scope.METHOD and claim.seeds < 2:
        return Judgement(
            Verdict.REFUSED,
            f"Refused: {claim.arm} and {claim.reference} have one training run each, so nothing can be said about the "
            "methods; train several seeds of each, or claim something about these checkpoints only.",
            None,
        )
    turned = Favourable(evidence, claim)
    verdict, interval = verdict_of(turned, margin, alpha, correction.p, correction.tests)
    if verdict.sameness and moved is False:
        verdict, interval = Verdict.NO_ASSAY, turned.interval(1 - alpha / correction.tests)
    shown = turned_for(interval, claim)
    sentence = (
        f"{correction.status}: {_PHRASES[verdict].format(arm=claim.arm, reference=claim.reference)} {claim.setting}: "
        f"{claim.figures(evidence.value, shown)}, margin {claim.amount(margin)}, {_p(correction.p)} for no "
        f"difference; {_corrected(correction)}."
    )
    if verdict is Verdict.NO_ASSAY:
        sentence += (
            " All layers are not shown to move the untouched model by more than the margin here, so nothing is called "
            "the same."
        )
    if verdict is Verdict.UNDECIDED and needed is not None:
        sentence += f" {_what_it_takes(needed, claim)}"
    return Judgement(verdict, sentence, shown)


def estimation(
    evidence: Evidence,
    claim: Claim,
    correction: Correction | None,
    alpha: float = 0.05,
    why: str = "there is no margin",
) -> tuple[str, Interval]:
    """The sentence without a verdict, and its interval.

    Args:
        evidence: Arm minus reference in the unit of the metric.
        claim: What the sentence names.
        correction: The family of the comparison; None where it belongs to none.
        alpha: Level of the family.
        why: Why there is no verdict in a family.
    """
    interval = evidence.interval(1 - alpha / (1 if correction is None else correction.tests))
    status = status_of(correction is not None and correction.declared)
    sentence = (
        f"{status}: {claim.arm} against {claim.reference} {claim.setting}: {claim.figures(evidence.value, interval)}"
    )
    if correction is None:
        return f"{sentence}. No verdict: it belongs to no family of tests.", interval
    sentence += f", {_p(correction.p)} for no difference; {_corrected(correction)}"
    return f"{sentence}. No verdict: {why}.", interval


def _corrected(correction: Correction) -> str:
    status = correction.status.lower()
    if correction.tests == 1:
        return f"the only {status} test of its family"
    return f"interval and p corrected for {correction.tests} {status} tests"


def _what_it_takes(needed: RequiredSize, claim: Claim) -> str:
    what = "items like these" if needed.of == "items" else f"seeds {claim.repeated} with these items"
    if needed.count is None:
        more = " with these items: it takes more items" if needed.of == "seeds" else ""
        return f"No number of {needed.of} would show two equal arms to be equivalent with 80 % power{more}."
    return f"About {needed.count:,} {what} would show two equal arms to be equivalent with 80 % power."


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3g}"
