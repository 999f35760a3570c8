"""The leaderboard: scorers side by side, what their layers are worth first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from math import inf

from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import ShareRow
from layersig.report.document import Block, Code, Inline, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, difference_of, fixed, interval_of, p_value, percent, seconds
from layersig.report.shares import why_no_share
from layersig.topics.leaderboard.rows import LEADERBOARD, LeaderRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None with fewer than two scorers that look at the model."""
    rows = material.findings[LEADERBOARD]
    if not rows:
        return None
    about = Paragraph(
        (
            "The scorers side by side; every figure stands in its own section with the test behind it. A ranking is "
            "worth its cost only if its layers beat random ones of the same types and the rule of type and depth.",
        )
    )
    blocks: list[Block] = [about]
    if measured := [row for row in rows if row.arm is not None]:
        blocks += [Paragraph((_summary(measured),)), _worth(material, measured)]
    blocks.append(_rankings(_one_each(rows)))
    return Section("leaderboard", "Leaderboard of scorers", tuple(blocks))


def _summary(rows: Sequence[LeaderRow]) -> str:
    """How many arms are better than random, of those that can tell."""
    tested = [row for row in rows if row.random_p is not None]
    if not tested:
        return "No arm can be told from random ones here: that takes several seeds, or 19 random sets."
    better = [row for row in tested if (row.random_verdict or "").startswith("better")]
    names = f": {', '.join(dict.fromkeys(row.arm or '' for row in better))}" if better else ""
    return (
        f"{len(better)} of {len(tested)} arms are shown to be better than random ones of their counts by type{names}."
    )


def _worth(material: Material, rows: Sequence[LeaderRow]) -> Table:
    kept = [(row, _stated(material, row)) for row in rows]
    kept.sort(key=lambda pair: (pair[0].data or "", pair[0].k, inf if pair[1] is None else -pair[1].share))
    return Table(
        "What the chosen layers are worth, by data set and budget, the best first. No share of the gain is given where "
        "all layers are not shown to gain more than the margin, or where any share may be. Against random: p by the "
        "rank among the sets, or of the comparison with one; all p are corrected in their own families",
        columns(
            "scorer",
            "arm",
            "data",
            "outcome",
            "#k",
            "#gain kept",
            "#random sets",
            "#p, random",
            "against random",
            "#minus the rule",
            "against the rule",
        ),
        tuple(starmap(_worth_line, kept)),
        "leaderboard.csv",
    )


def _stated(material: Material, row: LeaderRow) -> ShareRow | None:
    found = material.share(Measure(row.task or "", row.metric or ""), row.arm or "", row.data)
    return found if found is not None and why_no_share(material, found) is None else None


def _worth_line(row: LeaderRow, kept: ShareRow | None) -> tuple[Inline, ...]:
    measure = Measure(row.task or "", row.metric or "")
    rule = _NONE
    if row.rule_difference is not None:
        rule = f"{difference_of(measure, row.rule_difference)} {interval_of(measure, row.rule_low, row.rule_high)}"
    return (
        Code(row.scorer),
        row.arm or _NONE,
        row.data or _NONE,
        f"{row.task} {row.metric}",
        f"{row.k} of {row.of}",
        _NONE if kept is None else f"{percent(kept.share)} [{percent(kept.low)}, {percent(kept.high)}]",
        str(row.random_sets or _NONE),
        p_value(row.random_p),
        row.random_verdict or _NONE,
        rule,
        row.rule_verdict or _NONE,
    )


def _rankings(rows: Sequence[LeaderRow]) -> Table:
    return Table(
        "The rankings: cost, noise, agreement with leave-one-out (rank correlation, with an interval where it is "
        "corrected for noise), and what they may measure instead",
        columns(
            "scorer",
            "kind",
            "data",
            "#k",
            "#time",
            "#of a training",
            "reads the update",
            "#two seeds agree, kappa",
            "#leave-one-out",
            "nearest rule of place, kappa",
            "#on random tokens",
            "#places left open",
        ),
        tuple(map(_ranking_line, rows)),
        "leaderboard.csv",
    )


def _ranking_line(row: LeaderRow) -> tuple[Inline, ...]:
    return (
        Code(row.scorer),
        Code(row.kind),
        row.data or _NONE,
        str(row.k),
        seconds(row.seconds),
        percent(row.of_training, 1),
        "yes" if row.reads_update else "no",
        _with(row.stability, row.stability_low, row.stability_high),
        _with(row.leave_one_out, row.leave_one_out_low, row.leave_one_out_high),
        _NONE if row.rule is None else f"{row.rule} {fixed(row.rule_kappa, 2)}",
        percent(row.nonsense),
        count(row.open_places),
    )


def _with(value: float | None, low: float | None, high: float | None) -> str:
    ends = f" [{fixed(low, 2)}, {fixed(high, 2)}]" if low is not None and high is not None else ""
    return f"{fixed(value, 2)}{ends}"


def _one_each(rows: Sequence[LeaderRow]) -> list[LeaderRow]:
    """One line for every ranking and size, whichever arm read it."""
    return list({(row.scorer, row.data, row.k): row for row in rows}.values())
