"""Pruning: strategies, what single blocks do, and recovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layersig.report.numbers import fixed, p_value, percent, plural
from tests.replication.answers import Answer, Chart, Estimate, Extracts, Reply, Table, settled
from tests.replication.extracts import Row
from tests.replication.views import (
    BETTER,
    WORSE,
    comparison_chart,
    comparison_table,
    of_outcome,
    sentences,
    share_set,
    significant,
    span,
    superior,
)

_PUBLISHED_GAP = 0.63 - 0.32
"""Generation kept after recovery on own responses less that on given ones (arXiv 2602.01997, table 2)."""


def _strategies(extracts: Extracts) -> Answer:
    found = extracts["pruning"]
    declared = found.rows("comparisons", declared=True)
    on_loss = of_outcome(declared)
    on_written = [row for row in declared if row not in on_loss]
    contrasts = [row for row in declared if row["reference"] != "base"]
    by_model = {row["arm"] for row in contrasts}
    rows = found.rows("retention")
    at_floor = sorted({row["task"] for row in rows if row["at_floor"]})
    able = [row for row in rows if not row["at_floor"]]
    gaps = [
        row
        for row in found.rows("retention_gaps", kind="same items")
        if row["arm"] in by_model and not {row["classification"], row["generation"]} & set(at_floor)
    ]
    breaks_first = [True if row["low"] > 0 else (False if row["high"] < 0 else None) for row in gaps]
    most = f"; by {fixed(100 * max(row['gap'] for row in gaps), 0)} points of retention at most" if gaps else ""
    losses = [row for row in found.rows("results") if row["task"].startswith("heldout/")]
    kept = _kept_above([row for row in able if "." not in row["arm"]])
    return Answer(
        settled([superior(row) for row in contrasts] + breaks_first),
        f"By the held-out loss (declared), {_order(on_loss)}. By arithmetic in writing (declared), "
        f"{_order(on_written)}. Of the same problems, answers by choice are shown to keep more than written ones in "
        f"{breaks_first.count(True)} of {len(gaps)} arms (exploratory{most}). Above the floors "
        f"(exploratory), the arms keep {kept or 'nothing that can be told'}."
        + (f" At the floor before anything is removed: {', '.join(at_floor)}." if at_floor else ""),
        (
            Chart(
                "Held-out loss after pruning",
                "nats per token",
                [Estimate(row["arm"], "", row["value"], row["low"], row["high"]) for row in losses],
            ),
            Chart(
                "What is kept of tasks",
                "share of the untouched model's score",
                [
                    Estimate(row["arm"], row["task"], row["retention"], row["low"], row["high"])
                    for row in able
                    if "." not in row["arm"]
                ],
                1.0,
            ),
        ),
        (
            comparison_table(on_loss, "Declared comparisons on the held-out loss"),
            comparison_table(on_written, "Declared comparisons on arithmetic in writing (higher: better)"),
            *_kept_tables(able),
            Table(
                "Retention of the same problems: by choice less in writing",
                ("arm", "tasks", "gap [interval]"),
                [
                    (
                        row["arm"],
                        f"{row['classification']} and {row['generation']}",
                        f"{fixed(row['gap'], 2)} {span(row['low'], row['high'])}",
                    )
                    for row in gaps
                ],
            ),
        ),
        sentences(declared),
    )


def _above_floor(row: Row) -> Row:
    """What is kept above the floor, which is subtracted from both scores, in place of what is kept of the score."""
    return {
        **row,
        "retention": row["corrected"],
        "shape": row["corrected_shape"],
        "low": row["corrected_low"],
        "high": row["corrected_high"],
    }


def _kept_above(rows: Sequence[Row]) -> str:
    """What arms keep above the floor of each task, and for how many that is shown to be more than nothing."""
    known = [row for row in map(_above_floor, rows) if row["retention"] is not None]
    told = []
    for task in dict.fromkeys(row["task"] for row in known):
        own = [row for row in known if row["task"] == task]
        shares = [row["retention"] for row in own]
        shown = sum(row["shape"] == "interval" and row["low"] > 0 for row in own)
        told.append(
            f"{percent(min(shares))} to {percent(max(shares))} of {task}, with an interval above 0 in {shown} of "
            f"{plural(len(own), 'arm')}"
        )
    return "; ".join(told)


def _kept_tables(rows: Sequence[Row]) -> tuple[Table, Table]:
    """What arms keep of scores, and above the floor."""
    return (
        _kept_table(
            rows,
            "Share of the untouched model's score that is kept, with its set (in the header: that score and its floor)",
        ),
        _kept_table([_above_floor(row) for row in rows], "Share that is kept above the floor, with its set"),
    )


def _kept_table(rows: Sequence[Row], caption: str) -> Table:
    """What arms keep, a row an arm and a column a task that is above its floor."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    cells = {(row["arm"], row["task"]): f"{percent(row['retention'])} {share_set(row)}" for row in rows}
    untouched = {
        row["task"]: f"{row['task']} ({fixed(row['base'], 2)}, floor {fixed(row['floor'], 2)})" for row in rows
    }
    return Table(
        caption,
        ("arm", *(untouched[task] for task in tasks)),
        [
            (arm, *(cells.get((arm, task), "\u2013") for task in tasks))
            for arm in dict.fromkeys(row["arm"] for row in rows)
        ],
    )


def _order(declared: Sequence[Row]) -> str:
    """At how many sizes each strategy is shown to keep more than the one that is said to keep less."""
    greedy, from_end = (
        [row["verdict"] or "" for row in declared if [row[arm].split("-")[0] for arm in ("arm", "reference")] == pair]
        for pair in (["greedy", "bi"], ["bi", "reverse"])
    )
    by_greedy, by_influence, by_removal = (
        sum(verdict.startswith(word) for verdict in found)
        for found, word in ((greedy, BETTER), (from_end, BETTER), (from_end, WORSE))
    )
    return (
        f"a greedy search is shown to keep more than block influence at {by_greedy} of {len(greedy)} sizes, block "
        f"influence more than removal from the end at {by_influence} of {len(from_end)}"
        + (f" and less at {by_removal}" if by_removal else "")
    )


def _blocks(extracts: Extracts) -> Answer:
    rows = extracts["blocks"].rows("bridge")
    body = [
        (
            row["necessity"],
            row["plasticity"],
            f"{fixed(row['correlation'], 2)} {span(row['low'], row['high'])}",
            fixed(row["residual"], 2),
            p_value(row["p"]),
        )
        for row in rows
    ]
    sizes = [row for row in rows if row["plasticity"] == "size" and row["necessity"] == "likelihood"]
    negative = [True if row["high"] < 0 else (False if row["low"] > 0 else None) for row in sizes]
    told = ", ".join(f"{fixed(row['correlation'], 2)} {span(row['low'], row['high'])}" for row in sizes)
    return Answer(
        settled(negative),
        f"Rank correlation of what the model loses without a block and how far training moves it: {told}.",
        (
            Chart(
                "Necessity and plasticity of blocks",
                "rank correlation",
                [
                    Estimate(
                        f"{row['necessity']} and {row['plasticity']}", "", row["correlation"], row["low"], row["high"]
                    )
                    for row in rows
                ],
            ),
        ),
        (
            Table(
                "Necessity and plasticity over blocks",
                ("necessity", "plasticity", "correlation", "residuals", "p"),
                body,
            ),
        ),
    )


def _recovery(extracts: Extracts) -> Answer:
    found = extracts["recovery"]
    declared = of_outcome(found.rows("comparisons", declared=True))
    rows = found.rows("own_responses")
    tasks = [row for row in rows if not row["task"].startswith("heldout/") and row["arm"] == "bi-5-recovered"]
    body = [
        (
            row["arm"],
            row["task"],
            row["metric"],
            f"{fixed(row['difference'], 4, signed=True)} {span(row['low'], row['high'], 4)}",
            p_value(row["adjusted_p"]),
            str(row["n"]),
        )
        for row in rows
    ]
    able = [{**row, "arm": f"{row['arm']} ({row['data']})"} for row in found.rows("retention") if not row["at_floor"]]
    written = {row["task"]: row["base"] for row in able if row["format"] == "generation"}
    said = [_own_are_better(row, written[row["task"]]) for row in tasks if row["task"] in written]
    kept = "; ".join(
        f"{row['arm']} {percent(row['retention'])} {share_set(row)} of {row['task']}"
        for row in map(_above_floor, able)
        if row["task"] in ("arc_easy", *written)
    )
    told = ", ".join(
        f"{row['task']} {fixed(row['difference'], 3, signed=True)} {span(row['low'], row['high'], 3)}" for row in tasks
    )
    gained = ", ".join(
        f"{fixed(row['estimate'], 2, signed=True)} {span(row['low'], row['high'])} on {row['data']}"
        for row in declared
        if row["reference"] == "bi-5"
    )
    return Answer(
        settled(said),
        f"Score after training on own responses minus that on given ones, on tasks that favour neither: {told} "
        f"(exploratory). Kept above the floors: {kept}. Recovery changes the held-out loss by {gained} "
        "responses (declared; nats a token).",
        (comparison_chart(declared, "Recovery", "difference of held-out losses, nats per token (lower: better)"),),
        (
            comparison_table(declared, "Declared comparisons on the held-out loss"),
            *_kept_tables(able),
            Table(
                "Own minus given responses (exploratory: two data sets)",
                ("arm", "measured on", "metric", "difference [95 %, uncorrected]", "p, corrected", "n"),
                body,
            ),
        ),
        sentences(declared),
    )


def _own_are_better(row: Row, base: float) -> bool | None:
    """Whether own responses are shown to be better; False also where a difference of the published size is excluded.

    Args:
        row: Difference of scores, own minus given.
        base: The untouched model's score, of which the published difference is a share.
    """
    if significant(row):
        return bool(row["difference"] > 0)
    return False if row["high"] < _PUBLISHED_GAP * base else None


ANSWERS: Mapping[str, Reply] = {
    "pruning": _strategies,
    "necessity": _blocks,
    "recovery": _recovery,
}
