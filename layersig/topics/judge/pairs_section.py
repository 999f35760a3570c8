"""Tables and figures about pairs of answers: who wins, and whether the judge goes by the order."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.document import Block, Details, Figure, Heading, Inline, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, fixed, level, p_value, percent
from layersig.report.svg import described, draw
from layersig.topics.judge.rows import JUDGE_PAIRS, JUDGE_POSITIONS, PairRow, PositionRow

EVEN = 0.5
"""Share of wins without a preference."""


def pairs(material: Material) -> list[Block]:
    """Every arm against the baseline."""
    rows = material.findings[JUDGE_PAIRS]
    if not rows:
        return []
    whole = [row for row in rows if row.by == "all"]
    panels = [
        Panel(
            f"{name} (n = {_sizes([row.n for row in whole if row.set == name])})",
            f"share of wins against {rows[0].reference}, ties by halves, in percent\u2003better \u2192",
            tuple(_drawn(row) for row in whole if row.set == name),
            reference=100 * EVEN,
        )
        for name in dict.fromkeys(row.set for row in whole)
    ]
    alt = (
        f"Forest plots of the share of wins of each arm against {rows[0].reference}; the table gives the same numbers."
    )
    figure = Figure(
        "judge-pairs",
        f"Direct comparison with {rows[0].reference}",
        described(draw(forest(panels), "judge-pairs"), alt),
        alt,
        f"Diamond: wins plus half the ties, mean over both orders; bar: {level(rows[0].level)} interval; line: no "
        "preference.",
        ("judge_pairs.csv",),
    )
    return [
        Heading(f"In direct comparison with {rows[0].reference}"),
        figure,
        _pair_table("Wins, ties and losses", whole),
        Details("By category and turn", (_pair_table("By category and turn", [r for r in rows if r.by != "all"]),)),
    ]


def _sizes(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return str(low) if low == high else f"{low} to {high}"


def _drawn(row: PairRow) -> ForestRow:
    label = f"{percent(row.value)} {ends(row.low, row.high, 100)}".strip()
    tip = (
        f"{row.arm} against {row.reference}, trained on {row.data}\n{label}\nwins {percent(row.win)}, ties "
        f"{percent(row.tie)}, losses {percent(row.loss)}\nscope: {row.scope}, n = {row.n}, S = {row.seeds}"
    )
    low, high = (None if end is None else 100 * end for end in (row.low, row.high))
    return ForestRow(row.arm, row.data or "", 100 * row.value, low, high, (), label, tip)


def _pair_table(caption: str, rows: Sequence[PairRow]) -> Table:
    heads = columns(
        "arm",
        "data",
        "set",
        "group",
        "#wins in both orders",
        "#ties",
        "#losses in both orders",
        "#share of wins",
        "#interval",
        "#p",
        "#pairs",
        "#left out",
        "#S",
        "scope",
    )
    body = tuple(
        (
            row.arm,
            row.data or "\u2013",
            row.set,
            f"turn {row.group}" if row.by == "turn" else row.group,
            percent(row.win),
            percent(row.tie),
            percent(row.loss),
            percent(row.value, 1),
            ends(row.low, row.high, 100) or "\u2013",
            p_value(row.p),
            str(row.n),
            str(row.unrated),
            str(row.seeds),
            row.scope,
        )
        for row in rows
    )
    about = (
        "; an arm wins a pair that the judge gives it in both orders, a winner that changes with the order is a tie. p "
        "is of no preference, and exploratory"
    )
    return Table(caption + about, heads, body, "judge_pairs.csv")


def positions(material: Material) -> list[Block]:
    """The bias of position."""
    rows = material.findings[JUDGE_POSITIONS]
    if not rows:
        return []
    heads = columns(
        "arm", "set", "#pairs", "#winner changes with the order", "#decided", "#won by the first shown", "#interval"
    )
    return [
        Table(
            "Does the judge go by the order? Every pair was shown in both; without a bias the first shown wins half",
            heads,
            tuple(_position(row) for row in rows),
            "judge_positions.csv",
        )
    ]


def _position(row: PositionRow) -> tuple[Inline, ...]:
    return (
        row.arm or "all arms",
        row.set,
        count(row.pairs),
        percent(row.flips, 1),
        count(row.decided),
        percent(row.first, 1),
        ends(row.low, row.high, 100) or "\u2013",
    )


def ends(low: float | None, high: float | None, scale: float = 1.0) -> str:
    """An interval in brackets; nothing where there is none."""
    if low is None or high is None:
        return ""
    decimals = 2 if scale == 1.0 else 0
    return f"[{fixed(scale * low, decimals)}, {fixed(scale * high, decimals)}]"
