"""Verdicts: what one comparison allows to be said, and the sentence that says it."""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, isnan

from layersig.analysis.margins import MarginTest, least_items_of_shares
from layersig.analysis.power import seeds_for_half_width
from layersig.analysis.results import Estimate
from layersig.analysis.sharing import SharingTest, SharingVerdict
from layersig.analysis.twoway import MeanSquares

MIN_DATA_SETS_TO_GENERALISE = 8
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven")


class Scope(StrEnum):
    """What a comparison is about."""

    CHECKPOINTS = "checkpoints"
    METHOD = "method"


class Verdict(StrEnum):
    """Everything that a comparison may conclude."""

    BETTER_BY_MARGIN = "better by more than the margin"
    BETTER_SIZE_UNSETTLED = "better, size unsettled"
    BETTER_WITHIN_MARGIN = "better but within the margin"
    EQUIVALENT = "equivalent"
    NOT_WORSE = "not worse by more than the margin"
    NOT_BETTER = "not better by more than the margin"
    WORSE_WITHIN_MARGIN = "worse but within the margin"
    WORSE_SIZE_UNSETTLED = "worse, size unsettled"
    WORSE_BY_MARGIN = "worse by more than the margin"
    UNDECIDED = "undecided"
    CANNOT_TELL = "this task cannot tell"
    REFUSED = "refused: a claim about a method needs several training runs per arm"


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
    Verdict.UNDECIDED: "Undecided between {arm} and {reference}",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a sentence has to name.

    Attributes:
        arm: The arm in question.
        reference: What it is compared with.
        scope: ``checkpoints`` or ``method``.
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
class Judgement:
    """A verdict with its sentence."""

    verdict: Verdict
    sentence: str


def verdict_of(
    estimate: Estimate, margin: float, alpha: float = 0.05, p: float | None = None, least_se: float = 0.0
) -> Verdict:
    """Verdict of one estimate, where positive means better.

    Better and worse follow from the 1 - alpha interval; equivalence and the one-sided claims from the 1 - 2 alpha one.

    Args:
        estimate: Arm minus reference.
        margin: Smallest difference that matters, positive.
        alpha: Level.
        p: P-value of the test that stands beside the estimate, where it is another one: better and worse need both.
        least_se: Least standard error for claims against the margin, see ``margins.least_se_of_shares``.
    """
    if margin <= 0:
        raise ValueError(f"a margin must be positive, got {margin}")
    wide, narrow = estimate.interval(1 - alpha), estimate.with_least_se(least_se).interval(1 - 2 * alpha)
    if p is None or p <= alpha:
        if wide.low > margin:
            return Verdict.BETTER_BY_MARGIN
        if wide.high < -margin:
            return Verdict.WORSE_BY_MARGIN
        if wide.low > 0:
            return Verdict.BETTER_WITHIN_MARGIN if wide.high < margin else Verdict.BETTER_SIZE_UNSETTLED
        if wide.high < 0:
            return Verdict.WORSE_WITHIN_MARGIN if wide.low > -margin else Verdict.WORSE_SIZE_UNSETTLED
    if -margin < narrow.low and narrow.high < margin:
        return Verdict.EQUIVALENT
    if narrow.low > -margin:
        return Verdict.NOT_WORSE
    if narrow.high < margin:
        return Verdict.NOT_BETTER
    return Verdict.UNDECIDED


def judge(
    estimate: Estimate,
    margin: float,
    claim: Claim,
    assay: MarginTest | None,
    table: MeanSquares | None = None,
    alpha: float = 0.05,
    p: float | None = None,
    least_se: float = 0.0,
) -> Judgement:
    """Verdict and sentence of one comparison.

    Args:
        estimate: Arm minus reference in the unit of the metric.
        margin: Smallest difference that matters, same unit, positive.
        claim: What the sentence names.
        assay: Test that all layers beat the untouched base by the margin (``superiority_by``), or None when the
            comparison is itself with the untouched base.
        table: Mean squares of the comparison, from which "what it would take" is told at scope ``method``.
        alpha: Level.
        p: See :func:`verdict_of`.
        least_se: See :func:`verdict_of`.

    Returns:
        ``REFUSED`` for scope ``method`` with one run per arm; ``CANNOT_TELL`` when the untouched base was not moved;
        else the verdict of the interval.
    """
    if claim.scope is Scope.METHOD and claim.seeds < 2:
        return Judgement(
            Verdict.REFUSED,
            f"Refused: {claim.arm} and {claim.reference} have one training run each, so nothing can be said about the "
            "methods; train several seeds of each, or claim something about these checkpoints only.",
        )
    if assay is not None and not assay.established:
        return Judgement(
            Verdict.CANNOT_TELL,
            f"This task cannot tell: tuning all layers does not move the untouched base by more than "
            f"{_amount(margin, claim)} {_where(claim)}, so {claim.arm} and {claim.reference} cannot be told apart.",
        )
    favourable = estimate if claim.higher_is_better else Estimate(-estimate.value, estimate.se, estimate.df)
    verdict = verdict_of(favourable, margin, alpha, p, least_se)
    equivalence = verdict in (Verdict.EQUIVALENT, Verdict.NOT_WORSE, Verdict.NOT_BETTER)
    interval = estimate.interval(1 - 2 * alpha if equivalence else 1 - alpha)
    figures = (
        f"difference {_signed(estimate.value, claim)} {claim.unit}, {100 * interval.level:.3g} % interval "
        f"{_signed(interval.low, claim)} to {_signed(interval.high, claim)}, margin {_amount(margin, claim)}"
    )
    sentence = f"{_PHRASES[verdict].format(arm=claim.arm, reference=claim.reference)} {_where(claim)}: {figures}."
    if verdict is Verdict.UNDECIDED:
        if estimate.se < least_se:
            sentence += f" {_too_few_items(estimate, margin, claim, alpha)}"
        else:
            sentence += f" {_what_it_takes(estimate, margin, claim, table, alpha)}"
    return Judgement(verdict, sentence)


def sharing_sentence(test: SharingTest, k: int, n: int, cells: tuple[str, ...], model: str, scorer: str) -> str:
    """The sentence of a sharing test; "share layers" appears in it only when the test established it.

    Args:
        test: Outcome of the sharing test.
        k: Size of the selections.
        n: Number of layers.
        cells: Names of the data sets (or of other cells).
        model: Name of the model.
        scorer: Name of the scorer.
    """
    which = _data_sets(cells)
    bound = test.bound
    runs = f"{test.fewest_seeds} seeds each, {model}, {scorer}, top {k} of {n}"
    least = "no lower bound" if isnan(bound.lower) else f"lower bound {bound.lower:.2f}"
    figures = (
        f"agreement between them is {bound.ratio:.2f} of the agreement between seeds, one-sided "
        f"{100 * bound.level:.3g} % {least}, margin {test.margin:.2f}, {runs}"
    )
    match test.verdict:
        case SharingVerdict.SHARED:
            return f"On {which} the rankings share layers as far as seeds do: {figures}."
        case SharingVerdict.NOT_SHOWN:
            return f"On {which} sharing is not shown, which is not a proof of difference: {figures}."
        case SharingVerdict.TOO_FEW_SEEDS:
            return f"On {which} no sharing verdict is given with fewer than five seeds: {figures}."
        case SharingVerdict.NO_CEILING:
            return (
                f"On {which} no sharing verdict is given: the rankings of two seeds of one data set are not shown to "
                f"agree above chance, so there is no noise ceiling to compare with ({runs})."
            )
        case SharingVerdict.NO_NOISE:
            return (
                f"On {which} no sharing verdict is given: the seeds of a data set rank layers alike, so there is no "
                f"noise to compare with ({runs})."
            )


def _where(claim: Claim) -> str:
    subject = "as a method" if claim.scope is Scope.METHOD else "as checkpoints"
    runs = f"S = {claim.seeds} training run{'s' if claim.seeds != 1 else ''} per arm"
    size = f"({runs}, n = {claim.items} items)"
    return f"{subject} on {_data_sets(claim.data_sets)} with {claim.model} in {claim.metric} {size}"


def _data_sets(names: tuple[str, ...]) -> str:
    count = len(names)
    if count == 0:
        raise ValueError("a verdict has to name its data sets")
    if count >= MIN_DATA_SETS_TO_GENERALISE:
        return f"{count} data sets"
    if count == 1:
        return f"the data set {names[0]}"
    return f"these {_WORDS[count]} data sets ({', '.join(names)})"


def _what_it_takes(estimate: Estimate, margin: float, claim: Claim, table: MeanSquares | None, alpha: float) -> str:
    half_width = estimate.interval(1 - alpha).half_width
    if claim.scope is Scope.CHECKPOINTS:
        items = ceil(claim.items * (half_width / margin) ** 2)
        return f"About {items} items like these would bring the half-width down to the margin."
    if table is None:
        return f"The half-width is {_amount(half_width, claim)} and would have to come down to the margin."
    seeds = seeds_for_half_width(table, margin, 1 - alpha)
    if seeds is None:
        return "No number of seeds would bring the half-width down to the margin with these items: it takes more items."
    return f"About {seeds} seeds per arm with these items would bring the half-width down to the margin."


def _too_few_items(estimate: Estimate, margin: float, claim: Claim, alpha: float) -> str:
    least = least_items_of_shares(margin, estimate.df, alpha)
    return (
        f"{claim.items} items that are right or wrong cannot exclude a difference of the margin, however few of them "
        f"differ: that takes about {least} or more."
    )


def _signed(value: float, claim: Claim) -> str:
    return f"{claim.scale * value:+.3g}"


def _amount(value: float, claim: Claim) -> str:
    return f"{claim.scale * value:.3g} {claim.unit}"
