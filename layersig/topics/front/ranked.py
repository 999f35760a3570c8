"""What rankings put first and how far their seeds agree, for runs that measure no arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from layersig.analysis.assay import AssayResult
from layersig.analysis.ceiling import MIN_SEEDS_FOR_CEILING
from layersig.findings.rows.arms import ASSAYS
from layersig.findings.rows.layers import CONCENTRATION, RANKED_LAYERS, UNITS, ConcentrationRow, RankingRow
from layersig.recipe.schema import RESERVED_ARMS
from layersig.report.document import Block, Bullets, Code, Column, Inline, Table, Text, columns
from layersig.report.material import Material, measure_of, place_of, rows_of
from layersig.report.numbers import count, difference_of, fixed, level, percent, plural, range_of, value_of
from layersig.topics.ceilings.rows import CEILINGS, CeilingRow
from layersig.topics.front.chosen import unsure
from layersig.topics.front.words import NONE

_NAMED_TYPES = 2
_TOLD = 2
"""Up to this many rankings are described one by one; more are listed in a table."""
_MOST = 12
"""Rankings in that table; the section on layers has all of them."""
_SHOWN: Mapping[str, str] = {
    AssayResult.GAIN: "a gain beyond the margin",
    AssayResult.LOSS: "a loss beyond the margin",
    AssayResult.NOT_SHOWN: "neither gain nor loss beyond the margin",
}


def ranked(material: Material) -> tuple[Block, ...]:
    """What the rankings put first, and what all layers do on tasks; nothing where there is neither."""
    blocks: list[Block] = []
    if material.findings.sizes and material.lead:
        told = tuple(which_layers(material, row) for row in material.lead)
        blocks.append(Bullets(told) if len(told) <= _TOLD else _rankings(material))
    if (measured := all_layers(material)) is not None:
        blocks.append(measured)
    return tuple(blocks)


def which_layers(material: Material, ranking: RankingRow) -> Text:
    """What the top of a ranking holds, where its seeds agree above chance; else why no layer is named."""
    k = material.findings.sizes[0]
    n = len(material.findings[UNITS])
    if (why := _why_unnamed(material, ranking, k, n)) is not None:
        runs = f" ({plural(ranking.runs, 'seed')})" if ranking.data is not None else ""
        return (
            "By ",
            Code(ranking.scorer),
            f" on {place_of(ranking.data, ranking.checkpoint)}{runs} no layer is named",
            *why,
        )
    rows = [row for row in rows_of(ranking, material.findings[CONCENTRATION]) if row.k == k]
    types = _types(rows)
    depths = [row for row in rows if row.by == "depth"]
    text: list[Inline] = [
        "By ",
        Code(ranking.scorer),
        f" on {place_of(ranking.data, ranking.checkpoint)} "
        f"({plural(ranking.runs, 'seed')}), the top {k} of {n} {material.findings.unit}s "
        f"({percent(k / n)}) hold ",
    ]
    if len(types) > 1:
        for i, row in enumerate(types[:_NAMED_TYPES]):
            text += [" and " if i else "", _held(row), " ", Code(row.group)]
        text += [", but only ", _held(types[-1]), " ", Code(types[-1].group)]
        text += [f"; chance would hold {percent(rows[0].expected)} of each type. By depth: "]
    text.append("; ".join(f"{row.group} {_held(row)}" for row in depths))
    top = rows_of(ranking, material.findings[RANKED_LAYERS])
    text.append(". First come ")
    for i, layer in enumerate(sorted(top, key=lambda row: row.rank)[:3]):
        text += [", " if i else "", f"{layer.number} ", Code(layer.layer)]
    tied = (
        f", where {ranking.ties} of {n} scores are tied: among equals the model's order decides" if ranking.ties else ""
    )
    text.append(f"{tied}.")
    ceiling = _ceiling(material, ranking, k)
    if ceiling is not None and ceiling.above_chance and ceiling.kappa is not None:
        text.append(f" The seeds agree above chance: kappa {_kappa(ceiling)}, {level(ceiling.level)} interval.")
    return tuple(text)


def all_layers(material: Material) -> Table | None:
    """What tuning all layers does to the untouched model, by task; None where nothing was measured."""
    rows = [row for row in material.findings[ASSAYS] if row.primary]
    if not rows:
        return None
    body: list[tuple[Inline, ...]] = []
    for row in rows:
        measure = measure_of(row)
        found = (material.result(measure, arm, row.data) for arm in RESERVED_ARMS)
        values = (value_of(measure, None if each is None else each.value) for each in found)
        ends = range_of(row.low, row.high, partial(difference_of, measure))
        body.append(
            (
                row.task,
                row.metric,
                row.data or "\u2013",
                *values,
                difference_of(measure, row.gain),
                ends,
                _SHOWN[row.moved],
            )
        )
    caption = f"What tuning all layers gains over the untouched model, with its {level(rows[0].level)} interval"
    heads = columns("task", "metric", "trained on", "#untouched", "#all layers", "#gain", "#interval", "shown")
    return Table(caption, heads, tuple(body), "assays.csv")


def _why_unnamed(material: Material, ranking: RankingRow, k: int, n: int) -> Text | None:
    """Why the order of a ranking is no finding, and what would tell; None where it is one."""
    if ranking.control:
        return (": this scorer looks neither at the model nor at data.",)
    if ranking.ties == n:
        return (f": all {n} scores are tied.",)
    ceiling = _ceiling(material, ranking, k)
    if ceiling is None or not ceiling.seeds or ceiling.above_chance:
        return None
    return (".", *unsure(material, ranking, k))


def _rankings(material: Material) -> Table:
    """A row a ranking: whether its seeds agree, and which module types and depths its top holds."""
    k, n, unit = material.findings.sizes[0], len(material.findings[UNITS]), material.findings.unit
    rows = material.lead[:_MOST]
    held = [[each for each in rows_of(row, material.findings[CONCENTRATION]) if each.k == k] for row in rows]
    depths = list(dict.fromkeys(each.group for found in held for each in found if each.by == "depth"))
    types = any(len(_types(found)) > 1 for found in held)
    heads = columns("scorer", "ranked on", "#kappa of two seeds", *(("most of", "least of") if types else ()))
    left = len(material.lead) - len(rows)
    ceilings = [found for row in rows if (found := _ceiling(material, row, k)) is not None]
    interval = f", with its {level(ceilings[0].level)} interval" if ceilings else ""
    caption = (
        f"What the top {k} of {n} {unit}s hold, as shares of a module type or part of the depth; chance would hold "
        f"{percent(k / n)} of each. Kappa{interval}: 0 is chance, 1 the same {unit}s; no {unit}s are named where seeds "
        f"are not shown to agree above chance, which takes at least {MIN_SEEDS_FOR_CEILING} seeds"
        + (f". {plural(left, 'further ranking')} in the report" if left else "")
    )
    body = tuple(
        (Code(row.scorer), place_of(row.data, row.checkpoint), *_cells(material, row, found, depths, types=types))
        for row, found in zip(rows, held, strict=True)
    )
    return Table(caption, (*heads, *(Column(depth, True) for depth in depths)), body, "concentration.csv")


def _cells(
    material: Material, row: RankingRow, held: Sequence[ConcentrationRow], depths: Sequence[str], *, types: bool
) -> Iterator[Inline]:
    k, n = material.findings.sizes[0], len(material.findings[UNITS])
    ceiling = _ceiling(material, row, k)
    yield NONE if ceiling is None or ceiling.kappa is None else _kappa(ceiling)
    named = _why_unnamed(material, row, k, n) is None
    if types:
        ordered = _types(held)
        for each in (ordered[0], ordered[-1]) if named and len(ordered) > 1 else (None, None):
            yield NONE if each is None else f"{each.group} {percent(each.share)}"
    share = {each.group: each.share for each in held if each.by == "depth"}
    for depth in depths:
        yield percent(share[depth]) if named and depth in share else NONE


def _types(held: Sequence[ConcentrationRow]) -> list[ConcentrationRow]:
    """Module types of several units, the one that is held most of first."""
    return sorted((row for row in held if row.by == "kind" and row.layers > 1), key=lambda row: -row.share)


def _ceiling(material: Material, ranking: RankingRow, k: int) -> CeilingRow | None:
    return next((row for row in rows_of(ranking, material.findings[CEILINGS]) if row.k == k), None)


def _kappa(ceiling: CeilingRow) -> str:
    value = fixed(ceiling.kappa, 2)
    return value if ceiling.low is None else f"{value} [{fixed(ceiling.low, 2)}, {fixed(ceiling.high, 2)}]"


def _held(row: ConcentrationRow) -> str:
    spread = ""
    if row.selected_low != row.selected_high:
        spread = f", range over seeds {row.selected_low}\u2013{row.selected_high}"
    return f"{count(round(row.selected, 1))} of {row.layers} ({percent(row.share)}{spread})"
