"""The answer in one sentence: does choosing the layers help, against what, and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layersig.analysis.verdicts import Verdict
from layersig.findings.rows.arms import ASSAYS
from layersig.findings.rows.layers import SelectionRow
from layersig.report.material import Material
from layersig.report.numbers import count, percent, plural
from layersig.topics.front.standings import Place, Standing, amount_of
from layersig.topics.front.words import WIDE, listed, margin_share, margin_words, outcome_of, value_words

_HELPED: Mapping[Verdict, str] = {
    Verdict.BETTER_BY_MARGIN: "helped",
    Verdict.BETTER_SIZE_UNSETTLED: "helped, perhaps by less than the margin{margin}",
    Verdict.BETTER_WITHIN_MARGIN: "helped, but by less than the margin{margin}",
    Verdict.EQUIVALENT: "made no difference larger than the margin{margin}",
    Verdict.NOT_BETTER: "was shown not to help by more than the margin{margin}",
    Verdict.WORSE_WITHIN_MARGIN: "did harm, but by less than the margin{margin}",
    Verdict.WORSE_SIZE_UNSETTLED: "did harm, perhaps by less than the margin{margin}",
    Verdict.WORSE_BY_MARGIN: "did harm",
}
_NOT_SHOWN = "was not shown to help"
_SPARED: Mapping[Verdict, str] = {
    Verdict.BETTER_BY_MARGIN: "reduced the damage",
    Verdict.BETTER_SIZE_UNSETTLED: "reduced the damage, perhaps by less than the margin{margin}",
    Verdict.BETTER_WITHIN_MARGIN: "reduced the damage, but by less than the margin{margin}",
    Verdict.EQUIVALENT: "made no difference larger than the margin{margin}",
    Verdict.NOT_BETTER: "was shown not to reduce the damage by more than the margin{margin}",
    Verdict.WORSE_WITHIN_MARGIN: "added to the damage, but by less than the margin{margin}",
    Verdict.WORSE_SIZE_UNSETTLED: "added to the damage, perhaps by less than the margin{margin}",
    Verdict.WORSE_BY_MARGIN: "added to the damage",
}
_NOT_SPARED = "was not shown to reduce the damage"
_ALIKE = {
    "types": "random {noun}s of the same types",
    "layers": "the same number of random {noun}s",
    "parameters": "random {noun}s with as many weights",
}


def headline(material: Material, places: Sequence[Place]) -> str:
    """One sentence that answers the question of the study."""
    if material.findings.smoke:
        return "This smoke run shows that everything works; its numbers mean nothing."
    if not places:
        return _without_arms(material)
    place = places[0]
    if place.chooses_all:
        _, of, noun = amount_of(material, place.lead.selection)
        return f"{place.lead.arm} takes all {of} {noun}s, so there is no choice to judge."
    runs = "In one run" if place.lead.result.scope == "checkpoints" else f"Over {count(place.lead.result.seeds)} seeds"
    figures = _removed(material, place) if place.prunes else _kept(material, places)
    if all(each.control("random control") is None for each in places):
        return f"{runs}, {figures}; no random control tells what the choice adds." if figures else _cannot_tell(places)
    if not figures and all(each.silent for each in places):
        return _cannot_tell(places)
    return f"{runs}, {_chosen(material, place)} {_effects(places)}{f': {figures}' if figures else ''}."


def _effects(places: Sequence[Place]) -> str:
    """Whether the choice helped, by data set where they differ."""
    groups: dict[str, list[str]] = {}
    for place in places:
        effects, none = (_SPARED, _NOT_SPARED) if place.prunes else (_HELPED, _NOT_SHOWN)
        verdict = place.lead.verdict("random control")
        effect = none if verdict is None else effects.get(verdict, none)
        groups.setdefault(effect.format(margin=_margin(place)), []).append(place.data)
    if len(groups) == 1:
        (effect,) = groups
        return effect if len(places) == 1 else f"{effect} on {listed([place.data for place in places])}"
    return listed([f"{effect} on {listed(names)}" for effect, names in groups.items()])


def _margin(place: Place) -> str:
    """The size of the margin, and what it is of the gain where it is much of it."""
    found = place.lead.against.get("random control")
    if found is None or found.margin is None:
        return ""
    share = margin_share(place, found.margin)
    much = f", {percent(share)} of the gain" if share is not None and share > WIDE else ""
    return f" ({margin_words(place.measure, found.margin)}{much})"


def _chosen(material: Material, place: Place) -> str:
    _, _, noun = amount_of(material, place.lead.selection)
    selection = place.lead.selection
    what = f"choosing {noun}s{' to remove' if place.prunes else ''}"
    if not selection.scorers:
        return what
    scorers = f"the {'scorer' if len(selection.scorers) == 1 else 'scorers'} {listed(selection.scorers)}"
    return f"{what} with {scorers}{_cost(selection)}"


def _kept(material: Material, places: Sequence[Place]) -> str:
    """The shares of the gain that the leading arm and its random control keep; nothing where none is stated."""
    shares = [place.lead.kept.share for place in places if place.lead.kept]
    if not shares:
        return ""
    chosen, of, noun = amount_of(material, places[0].lead.selection)
    by = "" if places[0].control("random control") else _by(places[0].lead.selection)
    text = f"{count(round(chosen, 1))} of {of} {noun}s{by} kept {_range(shares)} of the gain of tuning all of them"
    controls = [place.control("random control") for place in places if place.lead.kept]
    others = [control.kept.share for control in controls if control is not None and control.kept is not None]
    return f"{text}; {random_words(material, places[0])} kept {_range(others)}" if others else text


def _removed(material: Material, place: Place) -> str:
    """What is left without the removed layers, without random ones, and of the untouched model."""
    chosen, of, noun = amount_of(material, place.lead.selection)
    by = "" if place.control("random control") else _by(place.lead.selection)
    removed = f"{count(round(chosen, 1))} of {of} {noun}s{by}"
    text = f"without {removed} the {outcome_of(place.measure)} is {_value(place, place.lead)}"
    if (control := place.control("random control")) is not None:
        text += f", without {random_words(material, place)} it is {_value(place, control)}"
    return (
        text
        if place.untouched is None
        else f"{text}; untouched, {value_words(place.measure, place.untouched.value, 3)}"
    )


def _by(row: SelectionRow) -> str:
    return f" chosen by {listed(row.scorers)}{_cost(row)}" if row.scorers else ""


def _cost(row: SelectionRow) -> str:
    """That a policy weighs scores against costs, where it does."""
    return " and the cost of training them" if row.policy.partition(",")[0] == "cost-aware" else ""


def random_words(material: Material, place: Place) -> str:
    """What the random control draws: `random layers of the same types`."""
    control = place.control("random control")
    _, _, noun = amount_of(material, place.lead.selection)
    policy = "" if control is None else control.selection.policy
    alike = next((words for match, words in _ALIKE.items() if f"match {match}" in policy), _ALIKE["layers"])
    return (_ALIKE["layers"] if noun == "block" else alike).format(noun=noun)


def _value(place: Place, standing: Standing) -> str:
    return value_words(place.measure, standing.result.value, 3)


def _range(shares: Sequence[float]) -> str:
    low, high = percent(min(shares)), percent(max(shares))
    return high if low == high else f"{low.removesuffix(' %')} to {high}"


def _cannot_tell(places: Sequence[Place]) -> str:
    place = places[0]
    if place.assay is not None and place.idle:
        return (
            f"Tuning all layers is not shown to improve {outcome_of(place.measure)} by more than "
            f"{margin_words(place.measure, place.assay.margin)}, so these data cannot tell what {place.lead.arm} keeps."
        )
    if place.untouched is not None and place.all_layers is not None and place.all_layers.value == place.untouched.value:
        value = value_words(place.measure, place.untouched.value)
        return (
            f"Tuning all layers left {outcome_of(place.measure)} as it was ({value}), so these data cannot tell what "
            f"{place.lead.arm} keeps."
        )
    why = f": {place.unstated[0]}" if place.unstated else ""
    return f"These data cannot tell what {place.lead.arm} keeps of the gain of all layers{why}."


def _rankings(material: Material) -> str:
    """Scorers and data sets of the rankings, one by one where they are few."""
    by_data: dict[tuple[str, ...], list[str]] = {}
    for scorer in dict.fromkeys(row.scorer for row in material.lead):
        data = tuple(row.data for row in material.lead if row.scorer == scorer and row.data is not None)
        by_data.setdefault(data, []).append(scorer)
    names = []
    for data, scorers in by_data.items():
        where = f" on {listed(data) if len(data) <= 3 else f'{len(data)} data sets'}" if data else ""
        names.append(f"{listed(scorers)}{where}")
    return listed(names)


def _without_arms(material: Material) -> str:
    if material.lead:
        names = _rankings(material)
        runs = max(row.runs for row in material.lead)
        ranks = f"ranks layers by {names} ({plural(runs, 'seed')})"
        if material.findings.status == "failed":
            return f"This run failed before any choice of layers was measured; it {ranks}."
        return f"This run {ranks}; no choice of layers was measured."
    if material.findings[ASSAYS]:
        return "This run measures the untouched model and all layers tuned; no layers are ranked."
    return "This run has no result yet." if material.findings.status != "failed" else "This run failed before a result."
