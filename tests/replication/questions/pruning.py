"""Pruning: strategies, what single blocks do, and recovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layersig.report.numbers import fixed, p_value, percent
from tests.replication.answers import Answer, Chart, Estimate, Extracts, Reply, Table, settled
from tests.replication.extracts import Row
from tests.replication.views import comparison_chart, comparison_table, of_outcome, sentences, share_set, span, superior


def _strategies(extracts: Extracts) -> Answer:
    found = extracts["pruning"]
    compared = of_outcome(found.rows("comparisons"))
    declared = [row for row in compared if row["declared"]]
    greedy = [row for row in declared if row["arm"].startswith("greedy-") and row["reference"].startswith("bi-")]
    from_end = [row for row in declared if row["reference"].startswith("reverse-")]
    by_model = {row["reference"] for row in greedy} | {row["arm"] for row in greedy}
    rows = found.rows("retention")
    able = [row for row in rows if not row["at_floor"]]
    body = [
        (
            row["arm"],
            row["task"],
            row["format"],
            fixed(row["base"], 2),
            fixed(row["floor"], 2),
            f"{percent(row['retention'])} {share_set(row)}",
            percent(row["corrected"]),
        )
        for row in able
    ]
    at_floor = sorted({row["task"] for row in rows if row["at_floor"]})
    gaps = [
        row
        for row in found.rows("retention_gaps", kind="same items")
        if row["arm"] in by_model and not {row["classification"], row["generation"]} & set(at_floor)
    ]
    breaks_first = [True if row["low"] > 0 else (False if row["high"] < 0 else None) for row in gaps]
    losses = [row for row in found.rows("results") if row["task"].startswith("heldout/")]
    told = ", ".join(f"{row['arm']} {fixed(row['value'], 2)}" for row in losses)
    told_gaps = ", ".join(f"{row['arm']} {fixed(row['gap'], 2)} {span(row['low'], row['high'])}" for row in gaps)
    return Answer(
        settled([superior(row) for row in (*greedy, *from_end)] + breaks_first),
        f"A greedy search is shown to keep more than block influence at {_shown(greedy)} sizes, block influence more "
        f"than removal from the end at {_shown(from_end)} (declared, held-out loss). Of the same problems, answers by "
        f"choice are shown to keep more than written ones in {breaks_first.count(True)} of {len(gaps)} arms "
        f"(exploratory; retention by choice less that in writing: {told_gaps or 'none above the floor'}). Held-out "
        f"loss: {told}. Not shown to be above the floor before anything is removed, so that nothing can be said of "
        f"them: {', '.join(at_floor) or 'no task'}.",
        (
            Chart(
                "Held-out loss after pruning",
                "nats per token",
                [Estimate(row["arm"], "", row["value"], row["low"], row["high"]) for row in losses],
            ),
        ),
        (
            comparison_table([*declared, *from_end], "Comparisons on the held-out loss"),
            Table(
                "What is kept of tasks above their floor",
                ("arm", "task", "class", "untouched", "floor", "kept [set]", "above the floor"),
                body,
            ),
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
        sentences([*declared, *from_end]),
    )


def _shown(rows: Sequence[Row]) -> str:
    """Of how many comparisons the arm is shown to be better."""
    return f"{sum(superior(row) is True for row in rows)} of {len(rows)}"


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
    written = {row["task"] for row in found.rows("retention", format="generation") if not row["at_floor"]}
    said = [
        None if (row["adjusted_p"] or 1.0) > 0.05 else row["difference"] > 0 for row in tasks if row["task"] in written
    ]
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
        f"Training on own responses minus training on given ones, on tasks that favour neither: {told} (exploratory; "
        f"in writing: {', '.join(sorted(written)) or 'none above the floor'}). Recovery "
        f"changes the held-out loss by {gained} responses (declared; nats a token).",
        (comparison_chart(declared, "Recovery", "difference of held-out losses, nats per token (lower: better)"),),
        (
            comparison_table(declared, "Declared comparisons on the held-out loss"),
            Table(
                "Own minus given responses (exploratory: two data sets)",
                ("arm", "measured on", "metric", "difference [interval]", "p", "n"),
                body,
            ),
        ),
        sentences(declared),
    )


ANSWERS: Mapping[str, Reply] = {
    "pruning": _strategies,
    "necessity": _blocks,
    "recovery": _recovery,
}
