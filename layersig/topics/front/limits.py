"""What limits the answer: the one place that says what it is about, and what may not be concluded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from layersig.analysis.ceiling import MIN_SEEDS_FOR_CEILING
from layersig.findings.rows.arms import ASSAYS, COMPARISONS
from layersig.findings.rows.claims import CLAIMS
from layersig.findings.rows.layers import SELECTIONS
from layersig.findings.rows.sweeps import SWEEPS
from layersig.report.document import Code, Text
from layersig.report.material import Material
from layersig.report.numbers import count, percent, plural
from layersig.report.terminal import verdict_in_short
from layersig.topics.front.standings import Place, pairs
from layersig.topics.front.words import WIDE, listed, margin_share, margin_words
from layersig.topics.retention.rows import RETENTION_CLASSES
from layersig.topics.tuning_cost.rows import TRIALS


def limits(material: Material, places: Sequence[Place]) -> tuple[Text, ...]:
    """Scope first, then how the comparisons were made, then what cannot tell."""
    if not places:
        return tuple(_of_rankings(material))
    idle = () if places[0].prunes else _idle_tasks(material)
    parts = (
        _absent(material, places),
        _scope(places),
        _rates(material, places),
        _declared(material, places),
        _margin(places),
        _unbeaten(material, places),
        _ahead(material, places),
        _unstated(places),
        idle,
    )
    return tuple(text for part in parts for text in part)


def _of_rankings(material: Material) -> Iterator[Text]:
    """What rankings alone leave open."""
    if material.lead and not material.findings[SELECTIONS]:
        unit = material.findings.unit
        yield (
            f"A ranking shows which {unit}s a scorer puts first, not whether tuning or removing these does better than "
            "tuning or removing others. To measure that, add ",
            Code("[[arms]]"),
            f" to the recipe; primary arms are compared with random {unit}s.",
        )


def _absent(material: Material, places: Sequence[Place]) -> Iterator[Text]:
    """Primary arms without results, where the headline has to be about another arm."""
    for place in places:
        where = f" on {place.data}" if len(places) > 1 else ""
        absent = [arm for arm in material.findings.primary_arms if place.arm(arm) is None]
        if absent and place.lead.arm not in material.findings.primary_arms:
            yield (
                f"The primary {'arms' if len(absent) > 1 else 'arm'} {listed(absent)} "
                f"{'have' if len(absent) > 1 else 'has'} no results{where}; the headline is about {place.lead.arm} "
                "instead.",
            )


def _scope(places: Sequence[Place]) -> Iterator[Text]:
    where = listed([place.data for place in places])
    seeds = places[0].lead.result.seeds
    if places[0].lead.result.scope == "checkpoints":
        draw = " and one random draw" if places[0].control("random control") else ""
        yield (
            f"One run per arm{draw}: this describes these checkpoints ({where}). Intervals cover the sampling of "
            "items, not whether a new run would give the same.",
        )
        return
    yield (
        f"{seeds} runs per arm: a statement about the method on this model and these data ({where}), and no others. "
        "Intervals cover the sampling of items and the variation between runs.",
    )
    if seeds < MIN_SEEDS_FOR_CEILING:
        yield (
            f"{seeds} runs say little about run-to-run variation, so intervals are very wide: the lack of a "
            "demonstrated difference is not evidence that there is none.",
        )


def _rates(material: Material, places: Sequence[Place]) -> Iterator[Text]:
    """Whether every arm had a learning rate of its own, where layers are tuned."""
    lead = places[0].lead
    if lead.selection.action != "tune" or places[0].chooses_all:
        return
    rates = {row.learning_rate for row in material.findings[TRIALS] if row.arm == lead.arm}
    if len(rates) > 1:
        yield (f"Every training of every arm is the best of trials at {count(len(rates))} learning rates.",)
        yield from _outermost(material)
    else:
        yield (
            "The learning rate was not searched. A few layers can do best at a higher one than all of them, so part of "
            "what they lose may be due to the rate. To give every arm a rate of its own, set ",
            Code("train.search"),
            ".",
        )


def _outermost(material: Material) -> Iterator[Text]:
    """Arms that mostly did best at an end of the rates that were tried, so that others may be better still."""
    tried: dict[str, set[float]] = {}
    best: dict[str, list[float]] = {}
    for row in material.findings[TRIALS]:
        tried.setdefault(row.arm, set()).add(row.learning_rate)
        if row.chosen:
            best.setdefault(row.arm, []).append(row.learning_rate)
    for end, name, beyond in ((max, "highest", "higher"), (min, "lowest", "lower")):
        at: dict[float, list[str]] = {}
        for arm, rates in best.items():
            rate = end(tried[arm])
            if len(tried[arm]) > 1 and 2 * rates.count(rate) > len(rates):
                at.setdefault(rate, []).append(f"{arm} in {rates.count(rate)} of {len(rates)}")
        for rate, arms in at.items():
            yield (
                f"The {name} rate that was tried, {rate:g}, was best for {listed(arms)} trainings: a {beyond} one may "
                "be better still.",
            )


def _declared(material: Material, places: Sequence[Place]) -> Iterator[Text]:
    rows = material.findings[COMPARISONS]
    if not rows:
        return
    declared = [row for row in rows if row.declared]
    names = listed(list(dict.fromkeys(f"{row.arm} against {row.reference}" for row in declared)))
    claims = sum(claim.declared for claim in material.findings[CLAIMS])
    trends = sum(curve.declared for curve in material.findings[SWEEPS])
    tests = len(declared) + claims + trends
    also = [plural(number, noun) for number, noun in ((claims, "claim"), (trends, "trend")) if number]
    those = f" with {listed(also)}" if also else ""
    together = f" (corrected together{those}, as {tests} tests)" if tests > 1 else ""
    others = material.findings.other_declarations
    if declared:
        text = f"Declared before it was measured: {names}{together}. Everything else is exploratory"
    else:
        text = "No comparison here was declared beforehand: all are exploratory"
    headlined = [found for place in places if (found := place.lead.against.get("random control")) is not None]
    if declared and headlined and not any(found.declared for found in headlined):
        text += ", the headline's comparison with random ones included"
    text += "."
    if others:
        text += (
            f" On record for this model: {plural(others, 'other declaration')}; the more there are, the likelier one "
            "looks good by chance."
        )
    yield (text,)


def _margin(places: Sequence[Place]) -> Iterator[Text]:
    """The smallest difference that matters; a warning where that is much of the gain."""
    alike: dict[tuple[str, bool], dict[str, float | None]] = {}
    for place in places:
        found = place.lead.against.get("baseline")
        if found is not None and found.margin is not None:
            share = margin_share(place, found.margin)
            words = margin_words(place.measure, found.margin)
            alike.setdefault((words, share is not None and share > WIDE), {})[place.data] = share
    for (words, wide), shares in alike.items():
        text = f"The margin, the smallest difference that matters, is {words}{_shares_of_gain(shares, len(places))}."
        if wide:
            coarse = (
                f"{text} That is wide: a loss of so much still counts as no difference that matters. Before the next "
                "run, set a smaller one in "
            )
            yield (coarse, Code("analyze.margins"), ".")
        else:
            yield (text,)


def _shares_of_gain(shares: Mapping[str, float | None], places: int) -> str:
    """What a margin is of the gain of all layers, by data set where there are several."""
    if places == 1:
        (share,) = shares.values()
        return "" if share is None else f", {percent(share)} of the gain of all layers"
    named = [data if share is None else f"{data} ({percent(share)})" for data, share in shares.items()]
    known = any(share is not None for share in shares.values())
    return f" on {listed(named)}{' (in brackets: of the gain of all layers)' if known else ''}"


def _unbeaten(material: Material, places: Sequence[Place]) -> Iterator[Text]:
    """Tasks on which no pruned model is shown to beat guessing, whatever share of the score it keeps."""
    for place in places:
        where = f" on {place.data}" if len(places) > 1 else ""
        shown = {each.arm for each in place.standings}
        beaten: dict[str, bool] = {}
        for row in material.findings[RETENTION_CLASSES] if place.prunes else ():
            if row.arm in shown and row.data in (place.data, None) and row.constant is not None:
                beats = row.low is not None and row.low > row.constant
                beaten[row.format] = beaten.get(row.format, False) or beats
        for name, any_beats in beaten.items():
            if not any_beats:
                yield (f"No arm is shown to beat guessing on {name} tasks{where}.",)


def _ahead(material: Material, places: Sequence[Place]) -> Iterator[Text]:
    """Arms that keep more than the leading one with no more layers, and how the two compare: one sentence an arm."""
    told: dict[str, list[str]] = {}
    for place in places:
        lead, where = place.lead, f" on {place.data}" if len(places) > 1 else ""
        verdicts = {
            frozenset((row.arm, row.reference)): f"{row.arm} against {row.reference}: {verdict_in_short(row)}"
            for row in pairs(material, place)
        }
        for each in place.standings:
            smaller = not each.selection.control and each.selection.layers <= lead.selection.layers
            if smaller and each.kept and lead.kept and each.kept.share > lead.kept.share:
                verdict = verdicts.get(frozenset((each.arm, lead.arm)), "not compared")
                told.setdefault(each.arm, []).append(f"{percent(each.kept.share)}{where} ({verdict})")
    for arm, shares in told.items():
        yield (f"{arm} keeps more with as many layers or fewer: {listed(shares)}.",)


def _unstated(places: Sequence[Place]) -> Iterator[Text]:
    """Why no share of the gain is stated, where the headline does not say it."""
    told = all(place.silent and place.idle for place in places)
    for reason in dict.fromkeys(reason for place in places if not place.prunes for reason in place.unstated):
        if not told:
            yield (f"No share of the gain is stated where {reason}.",)


def _idle_tasks(material: Material) -> Iterator[Text]:
    """Tasks that all layers are not shown to move by more than the margin, so that nothing is called the same there."""
    rows = [row for row in material.findings[ASSAYS] if row.primary and not row.task.startswith("heldout/")]
    several = len({row.data for row in rows}) > 1
    idle: dict[tuple[str, int], list[str]] = {}
    for row in rows:
        if row.low <= row.margin:
            idle.setdefault((row.task, row.n), []).append(row.data or "")
    if idle:
        sizes = listed(
            [f"{task} ({count(n)} items{f'; {listed(on)}' if several else ''})" for (task, n), on in idle.items()]
        )
        them = "them" if len(idle) > 1 else "it"
        yield (f"No answer from {sizes}: tuning all layers is not shown to improve {them} by more than the margin.",)
