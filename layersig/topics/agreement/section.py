"""How much rankings agree, beside what chance and module types alone give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from layersig.findings.rows.layers import RANKED_LAYERS, RANKINGS, UNITS, RankedLayerRow, RankingRow
from layersig.report.charts.lines import Band, Line, LinePanel, line_charts
from layersig.report.charts.matrix import Entry, Matrix, matrices
from layersig.report.charts.scatter import Point, Scatter, scatters
from layersig.report.charts.strips import Dot, Strip, strips
from layersig.report.document import Block, Code, Details, Figure, Paragraph, Section, Table, columns
from layersig.report.material import Material, place_of
from layersig.report.numbers import count, fixed, number, p_value, percent, plural
from layersig.report.svg import described, draw
from layersig.topics.agreement.rows import AGREEMENT, OVERLAPS, OverlapRow
from layersig.topics.stability.rows import JACCARD_MATRIX

_MOST_ROWS = 60
_MOST_DOTS = 500
"""Pairs of a group that are drawn: a chart of a hundred thousand dots opens in no browser."""
_MOST_SCATTERS = 4
_MOST_CURVES = 8


def section(material: Material) -> Section | None:
    """None with fewer than two rankings."""
    rows = material.findings[OVERLAPS]
    if not rows:
        return None
    about = Paragraph(
        (
            "Two rankings of one model always share layers, so an overlap means nothing without what chance "
            "gives. Chance is "
            "shown twice: for sets drawn uniformly, and for sets that hold the same number of each module type. "
            "Both are "
            "exact laws, drawn as a yardstick; scores are smooth over depth, so the p-values of these laws are "
            "descriptive and no test of a claim. Equal scores say nothing of which layer belongs in the top: where "
            "they straddle its end, overlaps are expected values over random tie-breaking.",
        )
    )
    blocks: list[Block] = [
        about,
        _strips(material),
        *_curves(material),
        *_matrix(material),
        *_scatters(material),
        *_tables(rows),
    ]
    return Section("agreement", "Overlap of rankings", tuple(blocks))


def _strips(material: Material) -> Figure:
    charts = []
    controls = _controls(material)
    thinned = False
    for k in material.findings.sizes:
        rows = [row for row in material.findings[OVERLAPS] if row.k == k]
        pairs = Counter(row.group for row in rows)
        shown = drawn(rows)
        thinned = thinned or len(shown) < len(rows)
        dots = [
            Dot(
                f"{row.group} ({plural(pairs[row.group], 'pair')})",
                row.jaccard,
                row.type_jaccard,
                bool(controls.intersection(_scorers(row.group))),
                _tip(row),
            )
            for row in shown
        ]
        dots.sort(key=lambda dot: dot.control)
        title = f"Top {k} of {rows[0].of} ({percent(k / rows[0].of)})"
        charts.append(
            Strip(title, "Jaccard index of the two sets", tuple(dots), (rows[0].chance_low, rows[0].chance_high))
        )
    which = "many pairs" if thinned else "every pair"
    alt = (
        f"Jaccard index of {which} of rankings at {plural(len(charts), 'size')}, beside the range of chance. "
        "The table of overlaps holds the same numbers."
    )
    return Figure(
        "overlaps",
        "Overlap beside chance",
        described(draw(strips(charts), "overlaps"), alt),
        alt,
        "Dot: a pair of rankings (pale: one of them ignores model and data). Grey band: central 95 % of two sets "
        "drawn uniformly. Orange tick: expected from the numbers of each module type alone, for each pair."
        + (f" Of a group with more than {_MOST_DOTS} pairs not every pair is drawn." if thinned else ""),
        ("overlaps.csv",),
    )


def drawn(rows: Sequence[OverlapRow]) -> list[OverlapRow]:
    """Of the pairs of every group as many as a chart can show, evenly spaced in their order."""
    pairs = Counter(row.group for row in rows)
    passed: Counter[str] = Counter()
    kept = []
    for row in rows:
        if passed[row.group] % -(-pairs[row.group] // _MOST_DOTS) == 0:
            kept.append(row)
        passed[row.group] += 1
    return kept


def _tip(row: OverlapRow) -> str:
    kappa = "" if row.kappa is None else f", kappa {fixed(row.kappa, 3)}"
    return (
        f"{row.a} and {row.b}\n{count(row.shared)} of {row.k} shared, Jaccard {fixed(row.jaccard, 3)}{kappa}\n"
        f"chance {fixed(row.chance_jaccard, 3)} [{fixed(row.chance_low, 3)}, {fixed(row.chance_high, 3)}]\n"
        f"module types alone {fixed(row.type_jaccard, 3)} [{fixed(row.type_low, 3)}, {fixed(row.type_high, 3)}]"
    )


def _curves(material: Material) -> list[Block]:
    rows = material.findings[AGREEMENT]
    controls = _controls(material)
    groups = [group for group in dict.fromkeys(row.group for row in rows) if not controls & set(_scorers(group))]
    groups = (groups or list(dict.fromkeys(row.group for row in rows)))[:_MOST_CURVES]
    if not groups:
        return []
    lines = []
    for group in groups:
        own = [row for row in rows if row.group == group]
        ceiling = "noise ceiling, " if group.endswith("other seed") else ""
        name = f"{group} ({ceiling}{plural(own[0].pairs, 'pair')})"
        lines.append(Line(name, tuple((row.k, row.kappa) for row in own), tip=name))
        lines.append(Line(name, tuple((row.k, row.type_kappa) for row in own), dashed=True, tip=f"{name}: types alone"))
    first = [row for row in rows if row.group == groups[0]]
    band = Band(tuple((row.k, row.chance_low, row.chance_high) for row in first))
    panel = LinePanel("Agreement over the size of the selection", f"k, of {first[0].of}", "kappa", tuple(lines), band)
    alt = "Chance-corrected overlap (kappa) over the size k of the selections; 0 is chance, 1 is identity."
    figure = Figure(
        "agreement",
        "Agreement over k",
        described(draw(line_charts([panel]), "agreement"), alt),
        alt,
        "Kuncheva's kappa: 0 is chance, 1 is identity. Solid: mean over the pairs, of two scorers those of different "
        "seeds where there are several; dashed: what the numbers of "
        "each module "
        "type alone would give; grey band: central 95 % of one pair of uniform sets.",
        ("agreement.csv",),
    )
    return [figure]


def _controls(material: Material) -> set[str]:
    return {row.scorer for row in material.findings[RANKINGS] if row.control}


def _scorers(group: str) -> tuple[str, ...]:
    return (group.split(", other ")[0],) if ", other " in group else tuple(group.split(" and "))


def _matrix(material: Material) -> list[Block]:
    rows = material.findings[JACCARD_MATRIX]
    if not rows:
        return []
    drawn = []
    for k in dict.fromkeys(row.k for row in rows):
        own = [row for row in rows if row.k == k]
        entries = []
        for row in own:
            tip = f"{row.a} and {row.b}\nmean Jaccard {fixed(row.jaccard, 3)} over {plural(row.pairs, 'pair')} of runs"
            tip += f"\nchance {fixed(row.chance, 3)}"
            entries.append(Entry(row.a, row.b, row.jaccard, tip))
            if row.a != row.b:
                entries.append(Entry(row.b, row.a, row.jaccard, tip))
        names = tuple(dict.fromkeys(name for row in own for name in (row.a, row.b)))
        title = f"Top {k} of {own[0].of}, chance {fixed(own[0].chance, 2)}"
        drawn.append(Matrix(title, names, tuple(entries)))
    alt = "Jaccard index of every two rankings, averaged over their runs; the table of overlaps holds every pair."
    figure = Figure(
        "jaccard-matrix",
        "Jaccard index of every two rankings",
        described(draw(matrices(drawn), "jaccard-matrix"), alt),
        alt,
        "Mean over pairs of runs of different seeds, on the diagonal (the noise ceiling) as off it, since runs of one "
        "seed may share a training. With one seed the diagonal is empty, and the rest may be too high for that.",
        ("jaccard_matrix.csv",),
    )
    return [figure]


def _scatters(material: Material) -> list[Block]:
    ranked = [row for row in material.findings[RANKINGS] if not row.control]
    pairs = [(a, b) for a, b in combinations(ranked, 2) if a.scorer == b.scorer or a.data == b.data][:_MOST_SCATTERS]
    if not pairs:
        return []
    ranks = {(row.scorer, row.data, row.checkpoint, row.number): row for row in material.findings[RANKED_LAYERS]}
    drawn = []
    for a, b in pairs:
        points = []
        for unit in material.findings[UNITS]:
            one = ranks[a.scorer, a.data, a.checkpoint, unit.number]
            two = ranks[b.scorer, b.data, b.checkpoint, unit.number]
            tip = f"{unit.number}  {unit.layer}\n{_named(a)}: score {number(one.score, 4)}, {_rank(one)}"
            tip += f"\n{_named(b)}: score {number(two.score, 4)}, {_rank(two)}"
            points.append(Point(one.rank, two.rank, unit.kind, tip))
        drawn.append(Scatter("", f"rank by {_named(a)}", f"rank by {_named(b)}", len(points), tuple(points)))
    alt = f"Ranks of every layer in {plural(len(drawn), 'pair')} of rankings; on the diagonal the two agree."
    figure = Figure(
        "ranks",
        "Rank against rank",
        described(draw(scatters(drawn), "ranks"), alt),
        alt,
        "A dot is a layer, coloured by its module type; the most important layers are at the top right. Ranks of mean "
        "scores over seeds; hover tells layer, score, rank and its range over seeds.",
        ("ranked_layers.csv",),
    )
    return [figure]


def _named(row: RankingRow) -> str:
    return f"{row.scorer} on {place_of(row.data, row.checkpoint)}"


def _rank(row: RankedLayerRow) -> str:
    spread = "" if row.rank_low == row.rank_high else f" (range over seeds {row.rank_low} to {row.rank_high})"
    return f"rank {row.rank}{spread}"


def _tables(rows: Sequence[OverlapRow]) -> list[Block]:
    table = Table(
        "Overlap of pairs of rankings; p is two-sided, and below chance where kappa is negative"
        + ("" if len(rows) <= _MOST_ROWS else f", the first {_MOST_ROWS} of {len(rows)}"),
        columns(
            "ranking",
            "other ranking",
            "#k",
            "#shared",
            "#Jaccard",
            "#chance [95 % range]",
            "#types alone [95 % range]",
            "#kappa",
            "#p, uniform",
            "#p, given types",
        ),
        tuple(
            (
                Code(row.a),
                Code(row.b),
                str(row.k),
                count(row.shared),
                fixed(row.jaccard, 3),
                f"{fixed(row.chance_jaccard, 3)} [{fixed(row.chance_low, 3)}, {fixed(row.chance_high, 3)}]",
                f"{fixed(row.type_jaccard, 3)} [{fixed(row.type_low, 3)}, {fixed(row.type_high, 3)}]",
                fixed(row.kappa, 3),
                p_value(row.p_uniform),
                p_value(row.p_type),
            )
            for row in rows[:_MOST_ROWS]
        ),
        "overlaps.csv",
    )
    return [table] if len(rows) <= _MOST_ROWS // 2 else [Details("Overlap pair by pair", (table,))]
