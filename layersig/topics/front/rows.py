"""The one table of the first screen: a row an arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from layersig.findings.rows.base import Role
from layersig.report.document import Bar, Column, Inline, Strong, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, level, percent, plural
from layersig.report.terminal import verdict_in_short
from layersig.topics.front.headline import random_words
from layersig.topics.front.standings import CONTROLS, Place, Standing, amount_of, pairs
from layersig.topics.front.words import (
    NONE,
    difference_unit,
    difference_words,
    listed,
    meanings,
    outcome_of,
    value_words,
    verdict_words,
    why_no_verdict,
)
from layersig.topics.recovery.rows import RECOVERY
from layersig.topics.retention.rows import RETENTION_CLASSES

_SHORT_ROLES = {"random control": "random", "rule control": "rule"}
_EACH = 3
"""Verdicts on up to this many data sets are listed one by one; on more, they are counted."""
MOST = 12
"""Arms that are shown; the part on arms has all of them."""


def table(material: Material, places: Sequence[Place], *, differences: bool = True) -> Table:
    """Arms below each other, on one data set or on several.

    Args:
        material: The run.
        places: Its data sets.
        differences: Whether verdicts come with their differences.
    """
    every = list(dict.fromkeys(standing.arm for place in places for standing in place.standings))
    rows = tuple(tuple(_row(material, places, arm, differences)) for arm in every[:MOST])
    where = "below" if differences else "in the report"
    left = f". {plural(len(every) - MOST, 'further arm')} {where}" if len(every) > MOST else ""
    return Table(f"{_caption(material, places, differences)}{left}", tuple(_heads(material, places)), rows, lifts=False)


def contrasts(material: Material, places: Sequence[Place]) -> Iterator[str]:
    """The pairs of arms that the recipe declares beside the baseline, each with its verdict and its difference."""
    for place in places:
        for row in pairs(material, place):
            if row.role != "baseline" and row.declared and row.verdict is not None:
                where = f" on {place.data}" if len(places) > 1 else ""
                difference = f"{difference_words(place, row)} {difference_unit(place)}"
                yield f"{row.arm} against {row.reference}{where}: {verdict_in_short(row)}, {difference}"


def _caption(material: Material, places: Sequence[Place], differences: bool) -> str:
    place = places[0]
    what = outcome_of(place.measure)
    if place.by_share and len(places) == 1 and place.untouched is not None and place.all_layers is not None:
        low, high = (value_words(place.measure, end.value) for end in (place.untouched, place.all_layers))
        text = f"Gain kept: 0 % is the untouched model ({what} {low}), 100 % all layers tuned ({high})"
    elif place.by_share:
        text = f"Gain kept by data set, in {what}: 0 % is the untouched model, 100 % all layers tuned"
    else:
        untouched = (
            "" if place.untouched is None else f" (untouched {value_words(place.measure, place.untouched.value)})"
        )
        better = "higher" if place.measure.higher_is_better else "lower"
        text = f"{what[0].upper()}{what[1:]}{untouched}, {better} is better"
    unit = f"Differences in {difference_unit(place)}"
    parts = [text, *_kept_scores(material, place), *_controls(material, places)]
    shown = [found for each in places for standing in each.standings for found in standing.against.values()]
    legend = [found] if (found := meanings({verdict_in_short(row) for row in shown})) else []
    if reasons := dict.fromkeys(why for row in shown if (why := why_no_verdict(row)) is not None):
        legend.append(f"No verdict where {' or where '.join(reasons)}")
    if differences and len(places) == 1:
        parts.append(unit)
    elif place.by_share and legend:
        where = "below" if differences else "in the report"
        legend.append(f"Verdicts go by intervals of the differences ({where}), not by those of the gain kept")
    return ". ".join([*parts, *legend, _sizes(places)])


def _kept_scores(material: Material, place: Place) -> Iterator[str]:
    if names := _formats(material, place):
        text = f"Kept: mean share of the untouched model's scores on tasks that are answered by {listed(names)}"
        guessed = any(_guessed(material, place, name) is not None for name in names)
        yield f"{text}; guessing: what the best of all constant answers would keep" if guessed else text
    recovered = {row.recovered: row.pruned for row in material.findings[RECOVERY] if row.data in (place.data, None)}
    if place.prunes and recovered:
        yield listed([f"{arm} is {pruned}, trained after the removal" for arm, pruned in recovered.items()])


def _controls(material: Material, places: Sequence[Place]) -> Iterator[str]:
    if (place := next((place for place in places if place.control("random control")), None)) is not None:
        by = "depth" if amount_of(material, place.lead.selection)[2] == "block" else "module type and depth"
        rule = f"; rule: chosen by {by} alone" if _any(places, "rule control") else ""
        yield f"Random: {random_words(material, place)}{rule}"


def _sizes(places: Sequence[Place]) -> str:
    result = places[0].lead.result
    items = ", ".join(f"{place.data} {count(place.lead.result.n)}" for place in places)
    n = count(result.n) if len(places) == 1 else items
    noun = "item" if n == "1" else "items"
    return f"n = {n} {noun}, S = {plural(result.seeds, 'run')} per arm, {level(result.level)} intervals"


def _heads(material: Material, places: Sequence[Place]) -> Iterator[Column]:
    place = places[0]
    yield from columns("arm", *(("#removed", "#weights removed") if place.prunes else ("#layers", "#weights")))
    if len(places) > 1:
        yield from (Column(each.data, True) for each in places)
    elif place.by_share:
        yield from columns("", "#gain kept")
    else:
        yield Column(outcome_of(place.measure), True)
        yield from (Column(_kept_head(material, place, name), True) for name in _formats(material, place))
    yield from (Column(f"against {_SHORT_ROLES[role]}") for role in CONTROLS if _any(places, role))
    yield Column(f"against {material.findings.baseline}")


def _row(material: Material, places: Sequence[Place], arm: str, differences: bool) -> Iterator[Inline]:
    found = [(place, standing) for place in places if (standing := place.arm(arm)) is not None]
    place, standing = found[0]
    amount, of, noun = amount_of(material, standing.selection)
    yield Strong(arm) if arm == places[0].lead.arm else f"{arm}{_role(places, standing)}"
    yield f"{count(round(amount, 1))} of {of}{' blocks' if noun == 'block' else ''}"
    yield percent(standing.selection.share_of_parameters)
    if len(places) > 1:
        yield from (NONE if (own := each.arm(arm)) is None else _score(each, own) for each in places)
    elif place.by_share:
        yield NONE if standing.kept is None else Bar(standing.kept.share, standing.selection.control)
        yield _score(place, standing)
    else:
        yield _score(place, standing)
        yield from (_retained(material, place, arm, name) for name in _formats(material, place))
    for role in CONTROLS:
        if _any(places, role):
            yield _against(found, role, differences)
    yield _against(found, "baseline", differences)


def _role(places: Sequence[Place], standing: Standing) -> str:
    """Which control an arm is, of whichever arm."""
    for role in CONTROLS:
        others = (each.against.get(role) for place in places for each in place.standings)
        if any(found is not None and found.reference == standing.arm for found in others):
            return f" ({_SHORT_ROLES[role]})"
    return " (control)" if standing.selection.control else ""


def _any(places: Sequence[Place], role: Role) -> bool:
    return any(role in standing.against for place in places for standing in place.standings)


def _against(found: Sequence[tuple[Place, Standing]], role: Role, differences: bool) -> str:
    """The verdict, with the difference on a single data set."""
    place, standing = found[0]
    row = standing.against.get(role)
    if len(found) > 1 or row is None or not differences:
        return _together(found, role)
    return f"{verdict_words(standing, role)}, {difference_words(place, row)}"


def _together(found: Sequence[tuple[Place, Standing]], role: Role) -> str:
    said = {place.data: verdict_words(standing, role) for place, standing in found}
    counts = Counter(said.values())
    if len(counts) == 1:
        return next(iter(counts))
    if len(said) > _EACH:
        return "; ".join(f"{words} on {times}" for words, times in counts.most_common())
    return "; ".join(f"{data}: {words}" for data, words in said.items())


def _score(place: Place, standing: Standing) -> str:
    if standing.kept is not None and place.by_share:
        return f"{percent(standing.kept.share)} ({_interval(standing.kept.low, standing.kept.high)})"
    return NONE if place.by_share else value_words(place.measure, standing.result.value)


def _interval(low: float | None, high: float | None) -> str:
    return f"{percent(low)} to {percent(high)}".replace(" %", "")


def _formats(material: Material, place: Place) -> tuple[str, ...]:
    """The ways in which tasks are answered, of which a pruned model keeps a share."""
    rows = material.findings[RETENTION_CLASSES] if place.prunes else ()
    return tuple(dict.fromkeys(row.format for row in rows))


def _kept_head(material: Material, place: Place, name: str) -> str:
    """With what guessing would keep, where that is known: a share says little without it."""
    guessed = _guessed(material, place, name)
    return f"{name} kept" if guessed is None else f"{name} kept (guessing: {percent(guessed)})"


def _guessed(material: Material, place: Place, name: str) -> float | None:
    """What the best constant answers would keep; it depends on the tasks and the untouched model alone."""
    for row in material.findings[RETENTION_CLASSES]:
        if (row.arm, row.data or place.data, row.format) == (place.lead.arm, place.data, name):
            return row.constant
    return None


def _retained(material: Material, place: Place, arm: str, name: str) -> str:
    for row in material.findings[RETENTION_CLASSES]:
        if (row.arm, row.data or place.data, row.format) == (arm, place.data, name):
            kept = percent(row.retention)
            return kept if row.low is None else f"{kept} ({_interval(row.low, row.high)})"
    return NONE
