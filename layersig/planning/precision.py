"""What the declared comparisons of a recipe can find: the difference that each detects with 80 % power.

The level is the recipe's, over the number of declared members: Holm's method rejects the first of a family at that
level, so the plan holds for each of them, whatever the others show.
"""

from __future__ import annotations

from dataclasses import dataclass

from layersig.analysis.power import (
    detectable_at_discordance,
    detectable_difference,
    detectable_two_way,
)
from layersig.analysis.results import Alternative
from layersig.findings.looks import look_of
from layersig.findings.outcomes import Measure
from layersig.findings.plan import Plan
from layersig.planning.declared import DeclaredComparison, declared, trends
from layersig.planning.facts import Facts
from layersig.planning.spreads import Pilot, Spread, Variances, spread_of
from layersig.recipe.schema import ALL_LAYERS

POWER = 0.8
"""The power that detectable differences are stated at."""


@dataclass(frozen=True, slots=True)
class Precision:
    """What a declared comparison or claim can find.

    Attributes:
        declared: What is declared.
        level: Level of its test, corrected for the family and for the declared look with so many seeds.
        family: Members of the declared family.
        detectable: Difference that is found with 80 % power, planned safely; of a claim, by how much more than the
            share of the gain an arm has to keep. None where the items are not known or nothing could be found.
        as_seen: The same if the spread is just what the pilot shows.
        origin: Where the spread comes from.
        assumed: Whether a part of the spread is a default that nothing was measured or stated for.
        margin: The smallest difference that matters.
        gain: Gain of all layers over the untouched model; None where unknown.
        least_gain: Of a claim, the gain that all layers need for an arm that equals them to be found as good with 80 %
            power.
        warnings: Why the comparison can only say "cannot tell".
    """

    declared: DeclaredComparison
    level: float
    family: int
    detectable: float | None
    as_seen: float | None
    origin: str
    assumed: bool
    margin: float | None
    gain: float | None
    least_gain: float | None
    warnings: tuple[str, ...]


def in_units(measure: Measure, value: float) -> str:
    """A difference as people read it: of shares in points, of which there are 100."""
    if not measure.is_share:
        return f"{value:.3g}"
    points = f"{100 * value:.3g}"
    return "more than 100 points" if value > 1 else f"{points} point{'' if points == '1' else 's'}"


def precision(facts: Facts, pilot: Pilot | None) -> list[Precision]:
    """What every declared comparison and claim can find."""
    members = declared(facts)
    plan = Plan(facts.recipe, frozenset())
    found = []
    for each in members:
        required = plan.required if each.kind == "as good" else None
        found.append(
            _precision(plan, each, len(members) + trends(facts.recipe), spread_of(facts, each, pilot, required))
        )
    return found


def detectable(
    measure: Measure, seeds: int, items: int, variances: Variances, level: float, *, clustered: bool = False
) -> float | None:
    """Difference that the test of a comparison finds with 80 % power.

    With several runs of each arm, the test over seeds and items; with one, the exact McNemar test of right and wrong
    items, or the t test over items.

    Args:
        measure: What is compared.
        seeds: Training runs of each arm.
        items: Items, or clusters of them, at least 2.
        variances: Components of one cell of the table of differences.
        level: Level of the two-sided test.
        clustered: Whether units are clusters, which are not right or wrong.

    Returns:
        None where no difference would be found.
    """
    between = variances[1] + variances[2]
    if seeds == 1 and measure.is_share and not clustered:
        return detectable_at_discordance(min(1.0, between), items, POWER, level)
    if seeds > 1:
        found = detectable_two_way(variances, seeds, items, POWER, level)
    else:
        found = detectable_difference(between**0.5, items, POWER, level)
    return min(found, 1.0) if measure.is_share else found


def exceeded(seeds: int, items: int, variances: Variances, level: float) -> float:
    """By how much a mean has to lie above a bound for the one-sided test to find it there with 80 % power.

    Args:
        seeds: Training runs of each arm.
        items: Items, or clusters of them, at least 2.
        variances: Components of one cell of the table whose mean is tested.
        level: Level of the test.
    """
    if seeds > 1:
        return detectable_two_way(variances, seeds, items, POWER, level, Alternative.GREATER)
    return detectable_difference((variances[1] + variances[2]) ** 0.5, items, POWER, level, Alternative.GREATER)


def _precision(plan: Plan, wanted: DeclaredComparison, family: int, spread: Spread) -> Precision:
    level, measure = plan.alpha / family, wanted.measure
    look = look_of(plan.recipe.analyze.looks, wanted.seeds)
    if look is not None:
        level = look.level(level)
    margin = plan.margin(measure)
    found = seen = least = None
    units = 0 if wanted.items is None else round(wanted.items / spread.cluster)
    if units > 1:
        size, clustered = (wanted.seeds, units), spread.cluster > 1
        if wanted.kind == "comparison":
            found, seen = (
                detectable(measure, *size, each, level, clustered=clustered) for each in (spread.planned, spread.seen)
            )
        else:
            found, seen = (exceeded(*size, each, level) for each in (spread.planned, spread.seen))
            required = plan.required
            least = None if required is None or required == 1 else found / (1 - required)
    warnings = _warnings(plan, wanted, found, least, spread.gain, margin)
    return Precision(
        wanted, level, family, found, seen, spread.origin, spread.assumed, margin, spread.gain, least, tuple(warnings)
    )


def _warnings(
    plan: Plan,
    wanted: DeclaredComparison,
    found: float | None,
    least: float | None,
    gain: float | None,
    margin: float | None,
) -> list[str]:
    """Why a comparison or a claim is likely to end with "cannot tell"."""
    if wanted.items is None:
        return []
    if wanted.items < 2 or found is None:
        return [f"with {wanted.items} items no difference can be detected"]
    if wanted.kind == "comparison":
        said = []
        if margin is not None and found > margin:
            said.append(
                f"can only say 'cannot tell' of differences up to {in_units(wanted.measure, found)}, and "
                f"{in_units(wanted.measure, margin)} is the smallest that matters"
            )
        if gain is not None and ALL_LAYERS in (wanted.arm, wanted.reference) and found > max(gain, 0.0):
            said.append(
                f"can only say 'cannot tell': not even an arm that keeps nothing of the gain "
                f"({in_units(wanted.measure, gain)}) would be distinguished from all layers"
            )
        return said
    required = plan.required
    if required is None:
        given = plan.declared_margin(wanted.measure)
        if given is not None and found > given:
            least_loss, allowed = in_units(wanted.measure, found), in_units(wanted.measure, given)
            return [f"can only say 'cannot tell': an equal arm is shown to lose less than {least_loss}, not {allowed}"]
        return []
    if required == 1:
        return ["can only say 'cannot tell' of equal arms: `gain_kept = 1` asks for more than equality"]
    if gain is not None and least is not None and least > gain:
        return [
            f"can only say 'cannot tell': to find that an equal arm keeps {100 * required:.3g} % of the gain takes a "
            f"gain of {in_units(wanted.measure, least)}, and all layers gain {in_units(wanted.measure, gain)}"
        ]
    return []
