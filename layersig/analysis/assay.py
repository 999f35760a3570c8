"""Assay sensitivity: whether a task can show a difference, since tuning all layers moves the untouched model there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from layersig.analysis.claim import Claim, Favourable, level_words
from layersig.analysis.results import Interval
from layersig.analysis.sentences import status_of
from layersig.analysis.verdicts import Evidence


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
    gain = Favourable(evidence, claim)
    interval = gain.interval(1 - 2 * alpha)
    if interval.low > margin:
        moved, said = AssayResult.GAIN, "above the margin of {margin}: claims of sameness are tested here"
    elif interval.high < -margin:
        moved, said = (
            AssayResult.LOSS,
            ("so they are shown to do harm by more than the margin of {margin}: to equal them is no merit here"),
        )
    else:
        moved, said = (
            AssayResult.NOT_SHOWN,
            "so they are not shown to gain or lose more than the margin of {margin}; whether or not they do, no arm is "
            "called the same as another here, while better and worse are still tested",
        )
    said = said.format(margin=claim.amount(margin))
    sentence = (
        f"{status_of(False)}: {claim.arm} against {claim.reference} {claim.setting}: gain "
        f"{claim.signed(gain.value)} {claim.unit}, {level_words(interval)} interval without correction "
        f"{claim.signed(interval.low)} to {claim.signed(interval.high)}, {said}."
    )
    return Assay(moved, interval, sentence)
