"""Sentences: what is said of one comparison, and of a task.

Every sentence begins with `Declared:` or `Exploratory:` and holds the interval and the p-value that its verdict follows
from.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from layersig.analysis.results import Interval
from layersig.analysis.verdicts import Evidence, Scope, Verdict, verdict_of

MIN_DATA_SETS_TO_GENERALISE = 8
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven")

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
class Claim:
    """What a sentence has to name.

    Attributes:
        arm: The arm in question.
        reference: What it is compared with.
        scope: `checkpoints` or `method`.
        data_sets: Names of the data sets.
        model: Name of the model.
        metric: Name of the metric, with its task.
        seeds: Training runs per arm, S.
        items: Evaluation items, n.
        unit: Unit shown, for instance "points".
        scale: Factor from the metric to the unit, 100 for a share shown in points.
        higher_is_better: False for a loss.
    """

    arm: str
    reference: str
    scope: Scope
    data_sets: tuple[str, ...]
    model: str
    metric: str
    seeds: int
    items: int
    unit: str = "points"
    scale: float = 100.0
    higher_is_better: bool = True


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
    turned = _Favourable(evidence, claim)
    verdict, interval = verdict_of(turned, margin, alpha, correction.p, correction.tests)
    if verdict.sameness and moved is False:
        verdict, interval = Verdict.NO_ASSAY, turned.interval(1 - alpha / correction.tests)
    shown = _turned(interval, claim)
    sentence = (
        f"{correction.status}: {_PHRASES[verdict].format(arm=claim.arm, reference=claim.reference)} {_where(claim)}: "
        f"{_figures(evidence.value, shown, claim)}, margin {_amount(margin, claim)}, {_p(correction.p)} for no "
        f"difference; {_corrected(correction)}."
    )
    if verdict is Verdict.NO_ASSAY:
        sentence += (
            " All layers are not shown to move the untouched model by more than the margin here, so nothing is called "
            "the same."
        )
    if verdict is Verdict.UNDECIDED and needed is not None:
        sentence += f" {_what_it_takes(needed)}"
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
        f"{status}: {claim.arm} against {claim.reference} {_where(claim)}: {_figures(evidence.value, interval, claim)}"
    )
    if correction is None:
        return f"{sentence}. No verdict: it belongs to no family of tests.", interval
    sentence += f", {_p(correction.p)} for no difference; {_corrected(correction)}"
    return f"{sentence}. No verdict: {why}.", interval


class AssayResult(StrEnum):
    """The position of the interval of the gain of all layers over the untouched model."""

    GAIN = "interval above the margin"
    LOSS = "interval below a loss of the margin"
    NOT_SHOWN = "interval reaches within the margin"


@dataclass(frozen=True, slots=True)
class Assay:
    """Assay sensitivity of a task: whether all layers move the untouched model there.

    Attributes:
        moved: The position of the interval.
        interval: 1 - 2 alpha interval of the gain, positive meaning better.
        sentence: The conclusion as a sentence.
    """

    moved: AssayResult
    interval: Interval
    sentence: str


def assay(evidence: Evidence, margin: float, claim: Claim, alpha: float = 0.05) -> Assay:
    """Whether all layers move the untouched model by more than the margin, each side at one-sided `alpha`.

    It opens the way to other claims and is none itself, so its sentence keeps to the estimate and its interval.

    Args:
        evidence: All layers minus the untouched model in the unit of the metric.
        margin: Smallest difference that matters, same unit, positive.
        claim: What the sentence names; its arm is all layers, its reference the untouched model.
        alpha: Level.
    """
    gain = _Favourable(evidence, claim)
    interval = gain.interval(1 - 2 * alpha)
    if interval.low > margin:
        moved, said = AssayResult.GAIN, "above the margin of {margin}: claims of sameness are tested here"
    elif interval.high < -margin:
        moved, said = AssayResult.LOSS, "below a loss of the margin, {margin}: to be like all layers is no merit here"
    else:
        moved, said = (
            AssayResult.NOT_SHOWN,
            "so they are not shown to gain or lose more than the margin of {margin}; whether or not they do, no arm is "
            "called the same as another here, while better and worse are still tested",
        )
    said = said.format(margin=_amount(margin, claim))
    sentence = (
        f"{status_of(False)}: {claim.arm} against {claim.reference} {_where(claim)}: gain "
        f"{_signed(gain.value, claim)} {claim.unit}, {_level(interval)} interval without correction "
        f"{_signed(interval.low, claim)} to {_signed(interval.high, claim)}, {said}."
    )
    return Assay(moved, interval, sentence)


@dataclass(frozen=True, slots=True)
class _Favourable:
    """Evidence turned so that positive means better."""

    raw: Evidence
    claim: Claim

    @property
    def value(self) -> float:
        return self.raw.value if self.claim.higher_is_better else -self.raw.value

    def interval(self, level: float) -> Interval:
        return _turned(self.raw.interval(level), self.claim)


def _turned(interval: Interval, claim: Claim) -> Interval:
    """From the metric's own direction to the favourable one, or back."""
    return interval if claim.higher_is_better else Interval(-interval.high, -interval.low, interval.level)


def _where(claim: Claim) -> str:
    subject = "as a method" if claim.scope is Scope.METHOD else "as checkpoints"
    runs = f"S = {claim.seeds} training run{'s' if claim.seeds != 1 else ''} per arm"
    size = f"({runs}, n = {claim.items} items)"
    return f"{subject} on {named_data_sets(claim.data_sets)} with {claim.model} in {claim.metric} {size}"


def named_data_sets(names: tuple[str, ...]) -> str:
    """Data sets as a sentence names them: by name, unless there are enough to stand for more."""
    count = len(names)
    if count == 0:
        raise ValueError("a verdict has to name its data sets")
    if count >= MIN_DATA_SETS_TO_GENERALISE:
        return f"{count} data sets"
    if count == 1:
        return f"the data set {names[0]}"
    return f"these {_WORDS[count]} data sets ({', '.join(names)})"


def _figures(value: float, interval: Interval, claim: Claim) -> str:
    return (
        f"difference {_signed(value, claim)} {claim.unit}, {_level(interval)} interval {_signed(interval.low, claim)} "
        f"to {_signed(interval.high, claim)}"
    )


def _corrected(correction: Correction) -> str:
    status = correction.status.lower()
    if correction.tests == 1:
        return f"the only {status} test of its family"
    return f"interval and p corrected for {correction.tests} {status} tests"


def _what_it_takes(needed: RequiredSize) -> str:
    what = "items like these" if needed.of == "items" else "seeds per arm with these items"
    if needed.count is None:
        more = " with these items: it takes more items" if needed.of == "seeds" else ""
        return f"No number of {needed.of} would show two equal arms to be equivalent with 80 % power{more}."
    return f"About {needed.count:,} {what} would show two equal arms to be equivalent with 80 % power."


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3g}"


def _level(interval: Interval) -> str:
    return f"{100 * interval.level:.4g} %"


def _signed(value: float, claim: Claim) -> str:
    return f"{claim.scale * value:+.3g}"


def _amount(value: float, claim: Claim) -> str:
    return f"{claim.scale * value:.3g} {claim.unit}"
