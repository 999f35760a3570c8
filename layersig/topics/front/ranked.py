"""What a ranking puts first, for runs that measure no arm."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from layersig.analysis.assay import AssayResult
from layersig.findings.rows.arms import ASSAYS
from layersig.findings.rows.layers import CONCENTRATION, RANKED_LAYERS, UNITS, ConcentrationRow, RankingRow
from layersig.recipe.schema import RESERVED_ARMS
from layersig.report.document import Code, Inline, Table, Text, columns
from layersig.report.material import Material, measure_of, place_of, rows_of
from layersig.report.numbers import count, difference_of, level, percent, plural, range_of, value_of
from layersig.topics.ceilings.rows import CEILINGS
from layersig.topics.front.chosen import unsure

_NAMED_TYPES = 2
_SHOWN: Mapping[str, str] = {
    AssayResult.GAIN: "a gain beyond the margin",
    AssayResult.LOSS: "a loss beyond the margin",
    AssayResult.NOT_SHOWN: "neither gain nor loss beyond the margin",
}


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
    types = sorted((row for row in rows if row.by == "kind" and row.layers > 1), key=lambda row: -row.share)
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
    ceiling = next((row for row in rows_of(ranking, material.findings[CEILINGS]) if row.k == k), None)
    if ceiling is None or not ceiling.seeds or ceiling.above_chance:
        return None
    return (".", *unsure(material, ranking, k))


def _held(row: ConcentrationRow) -> str:
    spread = ""
    if row.selected_low != row.selected_high:
        spread = f", range over seeds {row.selected_low}\u2013{row.selected_high}"
    return f"{count(round(row.selected, 1))} of {row.layers} ({percent(row.share)}{spread})"
