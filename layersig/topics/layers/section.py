"""Heat maps of scores and selections, and the layers by name."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.findings.rows.layers import (
    CONCENTRATION,
    LAYERS,
    RANKED_LAYERS,
    RANKINGS,
    SELECTED_LAYERS,
    SELECTIONS,
    UNITS,
    RankedLayerRow,
    RankingRow,
    SelectedLayerRow,
)
from layersig.recipe.schema import RESERVED_ARMS
from layersig.report.charts.heatmap import Map, Square, heat_maps
from layersig.report.document import Block, Code, Column, Details, Figure, Inline, Section, Table, columns
from layersig.report.material import Material, place_of, rows_of
from layersig.report.numbers import count, fixed, number, percent, plural
from layersig.report.svg import described, draw

_NAMED = 15


def section(material: Material) -> Section | None:
    """None without rankings and selections."""
    blocks: list[Block] = [*_scores(material), *_concentration(material), *_selections(material)]
    return Section("layers", "Scores and selections", tuple(blocks)) if blocks else None


def _scores(material: Material) -> list[Block]:
    ranked = [row for row in material.findings[RANKINGS] if not row.control] or list(material.findings[RANKINGS])
    if not ranked:
        return []
    maps, tables = [], []
    for ranking in ranked:
        rows = rows_of(ranking, material.findings[RANKED_LAYERS])
        maps.append(Map(f"{ranking.scorer} on {_title(ranking)}", tuple(_scored(row, len(rows)) for row in rows)))
        tables.append(_named(ranking, rows))
    alt = (
        f"Heat maps of {plural(len(maps), 'ranking')}: blocks from left to right, module types from top to bottom, "
        "the darker (in dark mode: the brighter) the higher the rank. The table of the highest layers follows."
    )
    figure = Figure(
        "scores",
        "Rank of every layer",
        described(draw(heat_maps(maps, ("lowest tenth", "highest tenth")), "scores"), alt),
        alt,
        "Colour: rank of the score (mean over seeds) in tenths. Hover tells layer, score, rank and, with several "
        "seeds, "
        "their range. Scorers that ignore model and data (random, first-k, last-k) are left out here; they are in the "
        "CSV.",
        ("ranked_layers.csv",),
    )
    return [
        figure,
        *tables[:1],
        *([Details("The highest layers of the other rankings", tuple(tables[1:]))] if tables[1:] else []),
    ]


def _title(ranking: RankingRow) -> str:
    notes = [plural(ranking.runs, "seed")]
    if ranking.coverage is not None:
        notes.append(f"carried over from another run, {percent(ranking.coverage)} of the layers covered")
    return f"{place_of(ranking.data, ranking.checkpoint)} ({', '.join(notes)})"


def _scored(row: RankedLayerRow, n: int) -> Square:
    tip = f"{row.number}  {row.layer}\nscore {number(row.score, 4)}, rank {row.rank} of {n}"
    if row.score_low != row.score_high:
        tip += f"\nrange over seeds: score {number(row.score_low, 4)} to {number(row.score_high, 4)}"
        tip += f", rank {row.rank_low} to {row.rank_high}"
    return Square(row.block, row.kind, 1 - (row.rank - 0.5) / n, tip)


def _named(ranking: RankingRow, rows: Sequence[RankedLayerRow]) -> Table:
    ordered = sorted(rows, key=lambda row: row.rank)[:_NAMED]
    heads = columns("#rank", "#number", "layer", "#score")
    body: list[tuple[Inline, ...]] = [
        (str(row.rank), str(row.number), Code(row.layer), number(row.score, 4)) for row in ordered
    ]
    if ranking.runs > 1:
        heads += columns("#range of ranks over seeds")
        body = [(*line, f"{row.rank_low}\u2013{row.rank_high}") for line, row in zip(body, ordered, strict=True)]
    caption = f"The {len(ordered)} highest of {len(rows)} by {ranking.scorer} on {_title(ranking)}"
    return Table(caption, heads, tuple(body), "ranked_layers.csv")


def _concentration(material: Material) -> list[Block]:
    sizes = material.findings.sizes
    tables: list[Block] = []
    for ranking in material.lead:
        rows = rows_of(ranking, material.findings[CONCENTRATION])
        groups = list(dict.fromkeys((row.by, row.group, row.layers) for row in rows))
        cells = {(row.by, row.group, row.k): row for row in rows}
        body = []
        for by, group, layers in groups:
            line: list[Inline] = [Code(group) if by == "kind" else group, str(layers)]
            for k in sizes:
                row = cells[by, group, k]
                spread = (
                    "" if row.selected_low == row.selected_high else f" [{row.selected_low}\u2013{row.selected_high}]"
                )
                line += [f"{count(round(row.selected, 1))}{spread}", percent(row.share)]
            body.append(tuple(line))
        n = len(material.findings[UNITS])
        heads = [
            c
            for k in sizes
            for c in (Column(f"in the top {k}", True), Column(f"share (chance {percent(k / n)})", True))
        ]
        tables.append(
            Table(
                f"Where the top of {ranking.scorer} on {_title(ranking)} lies; in brackets the range over seeds",
                (Column("module type or depth"), Column("layers", True), *heads),
                tuple(body),
                "concentration.csv",
            )
        )
    return tables


def _selections(material: Material) -> list[Block]:
    findings = material.findings
    if not findings[SELECTIONS]:
        return []
    table = Table(
        "What each arm trains or keeps",
        columns("arm", "data", "policy", "action", "#layers", "#weights", "#share of weights", "#runs"),
        tuple(
            (
                row.arm,
                row.data or "\u2013",
                row.policy,
                row.action,
                f"{count(row.layers)} of {row.of}",
                count(row.parameters),
                percent(row.share_of_parameters, 1),
                str(row.runs),
            )
            for row in findings[SELECTIONS]
        ),
        "selections.csv",
    )
    chosen: dict[str, list[SelectedLayerRow]] = {}
    for row in findings[SELECTED_LAYERS]:
        if row.arm not in RESERVED_ARMS:
            chosen.setdefault(row.arm, []).append(row)
    if not chosen:
        return [table]
    maps = [_selected(material, arm, rows) for arm, rows in chosen.items()]
    alt = (
        f"Heat maps of the selections of {plural(len(maps), 'arm')}, same layout as the scores: pale squares are not "
        "selected, full squares are selected in every run."
    )
    figure = Figure(
        "selections",
        "Layers that each arm selects",
        described(draw(heat_maps(maps, ("no run", "every run")), "selections"), alt),
        alt,
        "Colour: share of the runs (data sets and seeds) that selected the layer. Hover tells the layer and the count.",
        ("selected_layers.csv", "selections.csv"),
    )
    return [figure, table]


def _selected(material: Material, arm: str, rows: Sequence[SelectedLayerRow]) -> Map:
    runs = sum(row.runs for row in material.findings[SELECTIONS] if row.arm == arm)
    counts: dict[int, int] = {}
    for row in rows:
        counts[row.number] = counts.get(row.number, 0) + row.selected
    squares = []
    for layer in material.findings[LAYERS]:
        hits = counts.get(layer.number, 0)
        tip = f"{layer.number}  {layer.layer}\nselected in {hits} of {plural(runs, 'run')}"
        squares.append(Square(layer.block, layer.kind, hits / runs, tip))
    sizes = [row for row in material.findings[SELECTIONS] if row.arm == arm]
    mean = sum(row.layers for row in sizes) / len(sizes)
    return Map(f"{arm}: {fixed(mean, 0)} of {sizes[0].of} layers, {plural(runs, 'run')}", tuple(squares))
