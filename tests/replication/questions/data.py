"""Data: other kinds of work, size and diversity, and the share of layers."""

from __future__ import annotations

from layersig.report.numbers import fixed, p_value
from tests.replication.answers import Answer, Chart, Estimate, Extracts, Holds, Question, Table, settled
from tests.replication.extracts import Extract
from tests.replication.views import sentences, shares_layers, sharing_table, span

_SMALL = "One model of 135 M parameters that is already instruction-tuned, short trainings, conversations of 128 tokens."


def _kinds(extracts: Extracts) -> Answer:
    found = extracts["kinds"]
    rows = found.rows("sharing", across="data sets", family="data sets, two by two", scorer="ila")
    chat = [row for row in rows if "chat" in row["cells"]]
    matrix = [row for row in found.rows("carried") if row["task"] == f"heldout/{row['data']}" and row["arm"] != row["own"]]
    body = [
        (row["ranked_on"], row["data"], f"{fixed(row['difference'], 4, signed=True)} {span(row['low'], row['high'], 4)}",
         p_value(row["adjusted_p"]))
        for row in matrix
    ]  # fmt: skip
    told = ", ".join(
        f"{next(cell for cell in row['cells'] if cell != 'chat')} {fixed(row['ratio'], 2)} (at least {fixed(row['lower'], 2)})"
        for row in chat
    )
    worse = sum((row["adjusted_p"] or 1.0) <= 0.05 and row["difference"] > 0 for row in matrix)
    estimates = [Estimate(" and ".join(row["cells"]), "", row["ratio"], row["lower"], None) for row in rows if row["ratio"]]
    return Answer(
        settled([shares_layers(row) for row in chat]),
        f"Agreement with chat as a share of that of two seeds: {told}. Layers of another kind are shown to be worse than "
        f"own ones in {worse} of {len(matrix)} grafts.",
        (Chart("Agreement of two kinds over that of two seeds", "ratio", estimates, 1.0, 0.1),),
        (
            sharing_table(rows, "Do two kinds of work share layers?"),
            Table("Layers of one kind, grafted on another, minus own layers: held-out loss, nats per token",
                  ("ranked on", "tuned on", "difference [interval]", "p"), body),
        ),
        sentences(chat),
    )  # fmt: skip


def _data(extracts: Extracts) -> Answer:
    rows = extracts["data"].rows("dependence", scorer="ila")
    k = min((row["k"] for row in rows), default=0)
    chosen = [row for row in rows if row["k"] == k]
    body = [
        (row["quantity"], row["property"], f"{row['statistic']} {fixed(row['value'], 2)}",
         span(row["low"], row["high"], 3) if row["low"] is not None else "\u2013", p_value(row["adjusted_p"]), row["verdict"])
        for row in chosen
    ]  # fmt: skip
    told = "; ".join(f"{row['quantity']}, {row['property']}: {row['verdict']}" for row in chosen)
    found = [None if row["verdict"] == "cannot tell" else True for row in chosen]
    return Answer(
        settled(found),
        f"Whether agreement depends on a property of the data: {told}.",
        (),
        (
            Table("Agreement of rankings over properties of the data, by permutation of the data sets",
                  ("agreement", "property", "statistic", "interval", "p", "verdict"), body),
        ),
        sentences(chosen),
    )  # fmt: skip


def _curve(found: Extract, name: str) -> list[Estimate]:
    rows = [row for row in found.rows("sweep_points", quantity="select.fraction") if row["task"] == f"heldout/{row['data']}"]
    return [Estimate(f"{row['x']:g}: {row['series']}", name, row["difference"], row["low"], row["high"]) for row in rows]


def _best(found: Extract) -> list[tuple[float, float]]:
    rows = [row for row in found.rows("sweeps") if row["best_low"] is not None and row["task"] == f"heldout/{row['data']}"]
    return [(row["best_low"], row["best_high"]) for row in rows]


def _fraction(extracts: Extracts) -> Answer:
    first, again = extracts["fraction"], extracts["fraction-again"]
    best = _best(first)
    special = [True if high <= 0.3 else (False if low > 0.3 else None) for low, high in best]
    told = ", ".join(f"{low:g} to {high:g}" for low, high in best)
    same = "the same" if _best(again) == best else "the shares " + ", ".join(f"{low:g} to {high:g}" for low, high in _best(again))
    body = [
        (name, row["series"], fixed(row["x"], 2), fixed(row["value"], 4),
         f"{fixed(row['difference'], 4, signed=True)} {span(row['low'], row['high'], 4)}",
         {True: "yes", False: "no", None: "\u2013"}[row["in_best_set"]])
        for name, found in (("first rows", first), ("other rows", again))
        for row in found.rows("sweep_points")
        if row["task"] == f"heldout/{row['data']}"
    ]  # fmt: skip
    return Answer(
        settled(special) if special else Holds.UNDECIDED,
        f"Shares of layers that are not shown to be worse than the best: {told}; on other rows {same}.",
        (Chart("Kept share of layers", "held-out loss minus that of the untouched model", _curve(first, "first rows")),),
        (Table("Grafts over the share of layers", ("rows", "series", "share", "loss", "minus untouched [band]", "may be best"),
               body),),
        sentences(row for row in first.rows("sweeps") if row["task"] == f"heldout/{row['data']}"),
    )  # fmt: skip


QUESTIONS = (
    Question(
        "kinds",
        "Do rankings transfer to other kinds of work?",
        "Important layers of two reasoning sets agree (Jaccard 0.86, arXiv 2410.17875, figure 3); whether those of alignment "
        "serve code, mathematics or role play is an open question of its readers.",
        ("kinds",),
        "ILA on chat, code, mathematics, role play, reasoning and contest problems with solutions; each pair of kinds held "
        "against two seeds of one kind, and each ranking grafted on the update of each kind.",
        _SMALL,
        "More seeds; with the agreement of seeds as low as it is, a bound of the ratio above 0.9 takes many.",
        _kinds,
    ),
    Question(
        "data",
        "What does the agreement of rankings depend on: size, diversity or domain of the data?",
        "Rankings of three data sets agree although they differ in size and origin (arXiv 2410.17875, table 2).",
        ("data",),
        "Two sizes of four contents, by sub-samples with equal steps. Agreement of seeds, and of data sets, is related to "
        "size, to measured diversity and to origin by permutation tests over data sets.",
        _SMALL,
        "More data sets: a permutation test over eight finds strong dependence alone.",
        _data,
    ),
    Question(
        "fraction",
        "Are 10 to 30 % of the layers special?",
        "Tuning 10 to 30 % of the layers is enough (arXiv 2410.17875, table 6).",
        ("fraction", "fraction-again"),
        "The reference update kept on a growing share of the layers that ILA ranks highest, as grafts, beside random layers "
        "of the same types and the rule of type and depth. The study was repeated on other rows.",
        _SMALL,
        "Tuning at every share, as `studies/fraction` does; grafts favour large shares, since nothing adapts.",
        _fraction,
    ),
)
