"""Verdicts and figures in the few words of a first screen."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from layersig.analysis.as_good import AsGood
from layersig.analysis.verdicts import Verdict
from layersig.findings.files import HELDOUT
from layersig.findings.outcomes import UNITS, Measure
from layersig.findings.rows.arms import ComparisonRow
from layersig.findings.rows.base import Role
from layersig.report.numbers import MINUS, fixed, number, unit_of
from layersig.report.terminal import IDENTICAL, verdict_in_short
from layersig.topics.front.standings import Place, Standing

NONE = "\u2013"
WIDE = 0.2
"""A margin of more than this share of the gain hides differences that matter."""
_MEANINGS: Mapping[str, frozenset[str]] = {
    "beyond margin: the whole interval of the difference lies outside the margin": frozenset(
        {"better beyond margin", "worse beyond margin"}
    ),
    "within margin: any difference is smaller than the margin": frozenset({"within margin"}),
    "better or worse within margin: by less than the margin": frozenset(
        {"better within margin", "worse within margin"}
    ),
    "better or worse alone: perhaps by less than the margin": frozenset({"better", "worse"}),
    "not better or not worse: not by more than the margin": frozenset({"not better", "not worse"}),
    "identical: the same result on every item, as of arms that tune the same layers": frozenset({IDENTICAL}),
}


def verdict_words(standing: Standing, role: Role) -> str:
    """The verdict on an arm against the baseline or a control, in two or three words; a dash where there is none."""
    found = standing.against.get(role)
    better = found is not None and found.verdict is not None and Verdict(found.verdict).better
    if role == "baseline" and not better and standing.as_good in (AsGood.AS_GOOD, AsGood.AS_GOOD_AND_SELECTIVE):
        return AsGood.AS_GOOD.value
    return NONE if found is None else verdict_in_short(found)


def meanings(shown: Collection[str]) -> str:
    """What the verdicts that are shown say of their intervals; empty where none of them needs it."""
    found = "; ".join(meaning for meaning, words in _MEANINGS.items() if words & set(shown))
    return found[:1].upper() + found[1:]


def why_no_verdict(found: ComparisonRow) -> str | None:
    """Why a comparison has no verdict; None where it has one, and where both sides are identical."""
    if found.verdict is not None or found.identical:
        return None
    return found.no_interval or "no margin is declared"


def difference_words(place: Place, found: ComparisonRow) -> str:
    """A difference with the interval behind its verdict, in the unit of `difference_unit`."""
    scale, decimals = 1.0, 2
    if place.by_share and place.assay is not None:
        scale, decimals = 100 / place.assay.gain * (1 if place.measure.higher_is_better else -1), 0
    elif place.measure.is_share:
        scale, decimals = 100.0, 1
    low, high = (None if end is None else scale * end for end in (found.stated_low, found.stated_high))
    if scale < 0:
        low, high = high, low
    ends = "" if low is None or high is None else f" ({_end(low, decimals)} to {_end(high, decimals)})"
    return f"{fixed(scale * found.estimate or 0.0, decimals, signed=True)}{ends}"


def difference_unit(place: Place) -> str:
    """What differences are stated in."""
    return "points of the gain" if place.by_share and place.assay is not None else unit_of(place.measure)


def _end(value: float, decimals: int) -> str:
    text = fixed(value, decimals)
    return text.removeprefix(MINUS) if float(text.replace(MINUS, "-")) == 0 else text


def outcome_of(measure: Measure) -> str:
    """What is measured: `held-out loss`, `hellaswag acc_norm`."""
    return (
        f"held-out {measure.metric}" if measure.task.startswith(f"{HELDOUT}/") else f"{measure.task} {measure.metric}"
    )


def value_words(measure: Measure, value: float, digits: int = 4) -> str:
    """A result with few digits."""
    return f"{fixed(100 * value, 1)} %" if measure.is_share else number(value, digits)


def margin_words(measure: Measure, margin: float) -> str:
    """A margin with its unit."""
    if measure.is_share:
        return f"{number(100 * margin, 2)} points"
    return f"{number(margin, 2)} {UNITS.get(measure.metric, measure.metric)}"


def margin_share(place: Place, margin: float) -> float | None:
    """What a margin is of the gain of all layers; None where no share of the gain is stated."""
    return margin / place.assay.gain if place.by_share and place.assay else None


def listed(names: list[str] | tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
