"""Which layers an arm chose: their map, and a sentence that says no more than the seeds of the ranking bear out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from layersig.analysis.ceiling import MIN_SEEDS_FOR_CEILING
from layersig.findings.rows.layers import LAYERS, SELECTED_LAYERS, UNITS, LayerRow, RankingRow, SelectionRow
from layersig.report.charts.heatmap import Map, Square, heat_maps
from layersig.report.document import Code, Figure, Inline, Text, plain
from layersig.report.material import Material, rows_of
from layersig.report.numbers import count, fixed, percent, plural
from layersig.report.svg import described, draw
from layersig.topics.ceilings.rows import CEILINGS
from layersig.topics.front.standings import Place, amount_of
from layersig.topics.front.words import listed

_FULL, _PART, _NONE = "\u25a0", "\u25aa", "\u00b7"
_WIDEST = 100
_VERBS = {"prune": "removes", "graft": "keeps the update of"}


def distinct_choices(material: Material, places: Sequence[Place]) -> tuple[tuple[Place, str], ...]:
    """One place for all where the leading arm chose the same layers by the same ranking, with their names."""
    groups: dict[tuple[str, ...], list[Place]] = {}
    for place in places:
        chosen = (str(share) for _, share in _shares(material, place.lead.selection))
        groups.setdefault((place.lead.arm, plain(composition(material, place)), *chosen), []).append(place)
    return tuple(
        (found[0], f"all {len(found)} data sets" if 2 < len(found) == len(places) else listed([p.data for p in found]))
        for found in groups.values()
    )


def figure(material: Material, places: Sequence[Place]) -> Figure:
    """The layers that the leading arm chose, one map a data set."""
    runs = max(place.lead.selection.runs for place in places)
    told = distinct_choices(material, places)
    maps = [selection_map(material, place.lead.selection, f"{place.lead.arm} on {where}") for place, where in told]
    legend = ("in no run", "in every run") if runs > 1 else ("no", "yes")
    alt = " ".join(plain(composition(material, place)) for place, _ in told)
    return Figure(
        "chosen",
        title_of(material, places[0]),
        described(draw(heat_maps(maps, legend, shades=10 if runs > 1 else 2), "chosen"), alt),
        alt,
        "Blocks from left to right in the order of the forward pass"
        + (", module types from top to bottom." if amount_of(material, places[0].lead.selection)[2] == "layer" else ".")
        + (f" Colour: in how many of {runs} runs." if runs > 1 else ""),
        ("selected_layers.csv",),
    )


def title_of(material: Material, place: Place) -> str:
    """What the map of the leading arm shows."""
    _, _, noun = amount_of(material, place.lead.selection)
    return f"{noun.capitalize()}s that {place.lead.arm} {_VERBS.get(place.lead.selection.action, 'tunes')}"


def selection_map(material: Material, selection: SelectionRow, title: str) -> Map:
    """How many runs of an arm chose each layer."""
    squares = []
    for layer, share in _shares(material, selection):
        hits = round(share * selection.runs)
        tip = f"{layer.number}  {layer.layer}\nchosen in {hits} of {plural(selection.runs, 'run')}"
        squares.append(Square(layer.block, layer.kind, share, tip))
    return Map(title, tuple(squares))


def drawn(material: Material, place: Place) -> Iterator[str]:
    """The map in characters, a line a module type; nothing for a model that is too deep for a terminal."""
    shares = {(layer.kind, layer.block): share for layer, share in _shares(material, place.lead.selection)}
    blocks = sorted({block for _, block in shares if block is not None})
    if not blocks or len(blocks) > _WIDEST:
        return
    kinds = list(dict.fromkeys(kind for kind, block in shares if block is not None))
    width = max(map(len, kinds))
    for kind in kinds:
        yield f"{kind:{width}}  " + "".join(_character(shares.get((kind, block), 0.0)) for block in blocks)


def _character(share: float) -> str:
    return _FULL if share == 1 else _PART if share > 0 else _NONE


def composition(material: Material, place: Place) -> Text:
    """What the leading arm chose, by module type and depth, and whether another run would choose the same."""
    selection = place.lead.selection
    amount, of, noun = amount_of(material, selection)
    if amount == of:
        return (f"It takes all {of} {noun}s.",)
    shares = _shares(material, selection)
    by_type: dict[str, list[float]] = {}
    for layer, share in shares:
        by_type.setdefault(layer.kind, []).append(share)
    text = list(_types(by_type, ", on average over runs" if selection.runs > 1 else "")) if noun == "layer" else []
    inside = "" if noun == "block" else f"the {noun}s in "
    depths = [f"{percent(float(np.mean(held)))} of {inside}{name}" for name, held in _depths(shares)]
    verb = "removes" if place.prunes else "takes"
    chance = f"chance would {verb.removesuffix('s')} {percent(amount / of)} of each"
    text.append(f"By depth, it {verb} {listed(depths)}; {chance}.")
    return (*text, *_sureness(material, place))


def _types(shares: Mapping[str, Sequence[float]], average: str) -> Text:
    """Which module types are chosen most often and least often; nothing of two types."""
    if len(shares) < 3:
        return ()
    first, second, *_, last = sorted(shares, key=lambda kind: -np.mean(shares[kind]))
    if np.mean(shares[first]) == np.mean(shares[last]):
        return (f"All module types are chosen equally often{average} ({_of(shares[first])}). ",)
    if not any(shares[second]):
        return ("Only the module type ", Code(first), f" is chosen{average} ({_of(shares[first])}). ")
    most = (f"Most often chosen{average}: ", Code(first), f" ({_of(shares[first])}) and ", Code(second))
    return (*most, f" ({_of(shares[second])}); least often: ", Code(last), f" ({_of(shares[last])}). ")


def _sureness(material: Material, place: Place) -> Text:
    """Whether the seeds of the ranking agree on the layers; nothing where they do."""
    selection = place.lead.selection
    if not selection.scorers or place.prunes:
        return ()
    found: list[Inline] = []
    ranked_on = selection.ranked_on or (place.data.partition(">")[0],)
    for ranking in material.lead:
        of_these = ranking.data is None or ranking.data.partition(">")[0] in ranked_on
        if ranking.scorer in selection.scorers and of_these:
            found += unsure(material, ranking, round(selection.layers))
    return tuple(found)


def unsure(material: Material, ranking: RankingRow, k: int) -> Text:
    """Why the order of a ranking is no finding, and what would tell; nothing where it is one."""
    ceiling = next((row for row in rows_of(ranking, material.findings[CEILINGS]) if row.k == k), None)
    every = "All " if ranking.ties == len(material.findings[UNITS]) else ""
    tied = f" {every}{ranking.ties} scores are tied; among equals the model's order decides." if ranking.ties else ""
    if ceiling is None or not ceiling.seeds or ceiling.above_chance:
        return (tied,) if tied else ()
    if ceiling.above_chance is False:
        return (f" {ceiling.sentence}{tied}",)
    agreement = "" if ceiling.kappa is None else f" (kappa of the two seeds: {fixed(ceiling.kappa, 2)})"
    unknown = f" Whether another run would choose the same layers is unknown{agreement}"
    return (f"{unknown}: that takes at least {MIN_SEEDS_FOR_CEILING} seeds.{tied}",)


def _shares(material: Material, selection: SelectionRow) -> list[tuple[LayerRow, float]]:
    """Every layer, or block where these are chosen, with the share of the runs that chose it."""
    rows = material.findings[SELECTED_LAYERS]
    chosen = {row.number: row.selected for row in rows if (row.arm, row.data) == (selection.arm, selection.data)}
    found = [(layer, chosen.get(layer.number, 0) / selection.runs) for layer in material.findings[LAYERS]]
    if amount_of(material, selection)[2] == "layer":
        return found
    blocks = {layer.block: share for layer, share in found}
    units = (unit for unit in material.findings[UNITS] if unit.block in blocks)
    return [(unit, blocks[unit.block]) for unit in units]


def _depths(shares: Sequence[tuple[LayerRow, float]]) -> Iterator[tuple[str, list[float]]]:
    """Thirds of the depth."""
    blocks = sorted({layer.block for layer, _ in shares if layer.block is not None})
    for part in np.array_split(blocks, min(3, len(blocks))) if blocks else ():
        first, last = int(part[0]), int(part[-1])
        name = f"blocks {first}\u2013{last}" if last > first else f"block {first}"
        yield name, [share for layer, share in shares if layer.block is not None and first <= layer.block <= last]


def _of(shares: Sequence[float]) -> str:
    return f"{count(round(sum(shares), 1))} of {len(shares)}"
