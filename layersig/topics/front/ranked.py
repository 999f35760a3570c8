"""What a ranking puts first, for runs that measure no arm."""

from __future__ import annotations

from layersig.findings.rows.layers import CONCENTRATION, RANKED_LAYERS, UNITS, ConcentrationRow, RankingRow
from layersig.report.document import Code, Inline, Text
from layersig.report.material import Material, place_of, rows_of
from layersig.report.numbers import count, percent, plural
from layersig.topics.ceilings.rows import CEILINGS
from layersig.topics.front.chosen import unsure

_NAMED_TYPES = 2


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
