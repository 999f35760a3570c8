"""Data: other kinds of work, size and diversity, and the share of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from layersig.report.numbers import fixed, p_value, percent
from tests.replication.answers import Answer, Chart, Estimate, Extracts, Holds, Reply, Table, settled
from tests.replication.extracts import Extract, Row
from tests.replication.views import (
    comparison_table,
    of_outcome,
    repeated,
    sentences,
    share_set,
    shares_layers,
    sharing_table,
    shown_better,
    significant,
    span,
)

CHOSEN_BY = {"arm": "ILA", "random control": "random, same types", "rule control": "type and depth"}
AT_30 = ("ila-0.3", "ila-0.3.random", "ila-0.3.rule")


def _kinds(extracts: Extracts) -> Answer:
    found = extracts["kinds"]
    rows = found.rows("sharing", across="data sets", family="data sets, two by two", scorer="ila")
    together = found.rows("sharing", across="data sets", family="data sets, together", scorer="ila")
    chat = [row for row in rows if "chat" in row["cells"]]
    matrix = carried(found)
    roles = ("baseline", "random control", "rule control")
    grafts = [row for row in of_outcome(found.rows("comparisons", arm="of-chat")) if row["role"] in roles]
    body = [
        (
            row["ranked_on"],
            row["data"],
            f"{fixed(row['difference'], 4, signed=True)} {span(row['low'], row['high'], 4)}",
            p_value(row["adjusted_p"]),
        )
        for row in matrix
    ]
    told = ", ".join(
        f"{name} {fixed(row['ratio'], 2)} (at least {fixed(row['lower'], 2)})"
        for name, row in (
            *((f"all {len(row['cells'])} kinds", row) for row in together),
            *((" and ".join(row["cells"]), row) for row in chat),
        )
    )
    apart = sum(shares_layers(row) is False for row in rows)
    worse = sum(shown_worse(row) for row in matrix)
    estimates = [
        Estimate(" and ".join(row["cells"]), "", row["ratio"], row["lower"], None) for row in rows if row["ratio"]
    ]
    return Answer(
        settled([shares_layers(row) for row in (*together, *chat)]),
        f"Agreement of kinds as a share of that of two seeds, declared: {told}. {apart} of {len(rows)} pairs are shown "
        "to agree less than seeds do, by more than the margin. Even so, grafts on layers chosen for another kind "
        f"of work are shown to be worse than grafts on a kind's own layers in {worse} of {len(matrix)} cases. "
        "Chat's layers as a graft are shown to be better than random layers of the same types on "
        f"{shown_better(grafts, 'random control')} kinds, than the rule of type and depth on "
        f"{shown_better(grafts, 'rule control')} (exploratory).",
        (Chart("Agreement of two kinds over that of two seeds", "ratio", estimates, 1.0, 0.1),),
        (
            sharing_table([*together, *rows], "Do kinds of work share layers?"),
            Table(
                "Layers of one kind, grafted on another, minus own layers: held-out loss, nats per token",
                ("ranked on", "tuned on", "difference [95 %, uncorrected]", "p, corrected"),
                body,
            ),
            comparison_table(grafts, "Chat's layers as a graft on every kind: held-out loss, nats per token"),
        ),
        sentences([*chat, *grafts]),
    )


def carried(found: Extract) -> list[Row]:
    """Grafts of layers that were ranked on another data set, on the outcome of the one that they are grafted on."""
    return [row for row in of_outcome(found.rows("carried")) if row["arm"] != row["own"]]


def shown_worse(row: Row) -> bool:
    """Whether layers of another data set are shown to be worse than own ones."""
    return significant(row) and row["difference"] > 0


def _data(extracts: Extracts) -> Answer:
    rows = extracts["data"].rows("dependence", scorer="ila")
    k = min((row["k"] for row in rows), default=0)
    chosen = [row for row in rows if row["k"] == k]
    body = [
        (
            row["quantity"],
            row["property"],
            f"{row['statistic']} {fixed(row['value'], 2)}",
            span(row["low"], row["high"], 3) if row["low"] is not None else "\u2013",
            p_value(row["adjusted_p"]),
            row["verdict"],
        )
        for row in chosen
    ]
    told = "; ".join(f"{row['quantity']}, {row['property']}: {row['verdict']}" for row in chosen)
    found = [None if row["verdict"] == "cannot tell" else True for row in chosen]
    counts = ", ".join(f"{verdict} in {times}" for verdict, times in Counter(row["verdict"] for row in chosen).items())
    return Answer(
        settled(found),
        f"Whether agreement depends on a property of the data, over {len(chosen)} tests: {counts}. By agreement and "
        f"property: {told}.",
        (),
        (
            Table(
                "Agreement of rankings over properties of the data, by permutation of the data sets",
                ("agreement", "property", "statistic", "interval of the slope, or of r", "p", "verdict"),
                body,
            ),
        ),
        sentences(chosen),
    )


def _curve(found: Extract, name: str) -> list[Estimate]:
    rows = [
        row for row in found.rows("sweep_points", quantity="select.fraction") if row["task"] == f"heldout/{row['data']}"
    ]
    return [
        Estimate(f"{CHOSEN_BY[row['series']]}, {percent(row['x'])}", name, row["difference"], row["low"], row["high"])
        for row in rows
    ]


def _best(found: Extract) -> list[tuple[float, float]]:
    rows = [
        row for row in found.rows("sweeps") if row["best_low"] is not None and row["task"] == f"heldout/{row['data']}"
    ]
    return [(row["best_low"], row["best_high"]) for row in rows]


def _ranges(best: list[tuple[float, float]]) -> str:
    return ", ".join(percent(low) if low == high else f"{percent(low)} to {percent(high)}" for low, high in best)


def _kept(found: Extract) -> str:
    rows = of_outcome(found.rows("shares"))
    named = {row["arm"]: f"{row['arm']} {percent(row['share'])} {share_set(row)}" for row in rows}
    return ", ".join(named[arm] for arm in AT_30 if arm in named)


def _points(name: str, found: Extract) -> list[tuple[str, ...]]:
    return [
        (
            name,
            CHOSEN_BY[row["series"]],
            percent(row["x"]),
            fixed(row["value"], 4),
            f"{fixed(row['difference'], 4, signed=True)} {span(row['low'], row['high'], 4)}",
            {True: "yes", False: "no", None: "\u2013"}[row["in_best_set"]],
        )
        for row in of_outcome(found.rows("sweep_points"))
    ]


def _fraction(extracts: Extracts) -> Answer:
    first = extracts["fraction"]
    runs = {"first rows": first}
    if (repeat := extracts.get("fraction-again")) is not None:
        runs["other rows"] = repeat
    best, *again = map(_best, runs.values())
    special = [True if high <= 0.3 else (False if low > 0.3 else None) for low, high in best]
    told = _ranges(best)
    same = repeated(told, _ranges(again[0]) if again else None)
    return Answer(
        settled(special) if special else Holds.UNDECIDED,
        f"As grafts, at one learning rate: the best share is {told} of the layers, with 95 % confidence; {same}. "
        f"Kept of the gain of all layers: {_kept(first)}.",
        (
            Chart(
                "Kept share of layers",
                "held-out loss minus that of the untouched model",
                [each for name, found in runs.items() for each in _curve(found, name)],
            ),
        ),
        (
            Table(
                "Grafts over the share of layers",
                ("rows", "layers chosen by", "share", "held-out loss", "minus untouched [band]", "may be best"),
                [row for name, found in runs.items() for row in _points(name, found)],
            ),
            comparison_table(
                [row for row in of_outcome(first.rows("comparisons")) if row["role"] in CHOSEN_BY],
                "ILA's layers against controls of equal size, first rows",
            ),
        ),
        sentences(of_outcome(first.rows("sweeps"))),
    )


ANSWERS: Mapping[str, Reply] = {
    "kinds": _kinds,
    "data": _data,
    "fraction": _fraction,
}
