"""Rows of `analysis.json` as tables, figures and answers that several questions share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from layersig.report.numbers import fixed, p_value, percent
from tests.replication.answers import Chart, Estimate, Table
from tests.replication.extracts import Extract, Row

ALPHA = 0.05
"""Level of the tests that answers read."""
BETTER, WORSE = "better", "worse"
SAME = ("equivalent", "not worse")
Item = TypeVar("Item")


def some(items: Iterable[Item]) -> list[Item]:
    """These items, for `all` and `any`: of none, `all` would be true.

    Raises:
        ValueError: There are none.
    """
    if not (found := list(items)):
        raise ValueError("nothing can be said of no rows")
    return found


def span(low: float | None, high: float | None, decimals: int = 2) -> str:
    """An interval; an end that is not there is unbounded, and without either there is none."""
    if low is None and high is None:
        return "\u2013"
    ends = [
        "\u2212\u221e" if low is None else fixed(low, decimals),
        "\u221e" if high is None else fixed(high, decimals),
    ]
    return f"[{ends[0]}, {ends[1]}]"


def pair(row: Row) -> str:
    """The arms of a comparison."""
    return f"{row['arm']} \u2212 {row['reference']}"


def of_outcome(rows: Iterable[Row]) -> list[Row]:
    """Comparisons on the held-out conversations of the data set that the arms are trained on."""
    return [row for row in rows if row["task"] == f"heldout/{row['data']}"]


def comparison_table(rows: Sequence[Row], caption: str) -> Table:
    """Differences of arms with their corrected verdicts; lower losses are better."""
    body = [
        (
            pair(row),
            row["data"] or "\u2013",
            "declared" if row["declared"] else "exploratory",
            f"{fixed(row['estimate'], 4, signed=True)} {span(row['low'], row['high'], 4)}",
            fixed(row["margin"], 3),
            p_value(row["adjusted_p"]),
            fixed(row["detectable"], 4),
            row["verdict"] or "no verdict",
        )
        for row in rows
    ]
    header = (
        "arms",
        "data",
        "status",
        "difference [95 %, uncorrected]",
        "margin",
        "p, corrected",
        "detectable",
        "verdict, corrected",
    )
    return Table(caption, header, body)


def comparison_chart(rows: Sequence[Row], title: str, axis: str) -> Chart:
    """Differences of arms with the margin as a band."""
    found = [Estimate(pair(row), row["data"] or "", row["estimate"], row["low"], row["high"]) for row in rows]
    return Chart(title, axis, found, 0.0, rows[0]["margin"] if rows else None)


def share_table(rows: Sequence[Row], caption: str, selections: Sequence[Row] = ()) -> Table:
    """Shares of the gain of all layers that arms keep, and of what share of the weights where that is given."""
    weights = {(row["arm"], row["data"]): percent(row["share_of_parameters"]) for row in selections}
    body = [
        (
            row["arm"],
            row["data"] or "\u2013",
            percent(row["share"]),
            share_set(row),
            *([weights.get((row["arm"], row["data"]), "\u2013")] if selections else []),
            str(row["seeds"]),
        )
        for row in rows
    ]
    header = ("arm", "data", "share of the gain kept", "set", *(["of the weights"] if selections else []), "S")
    return Table(caption, header, body)


def kept_by(shares: Iterable[Row], arm: str) -> str:
    """What an arm keeps of the gain of all layers on every data set."""
    return ", ".join(
        f"{percent(row['share'])} {share_set(row)} on {row['data']}" for row in shares if row["arm"] == arm
    )


def share_set(row: Row) -> str:
    """Fieller's set of a share: bounded where the gain of all layers is shown to differ from 0."""
    if row["shape"] is None:
        return "\u2013"
    if row["shape"] == "interval":
        return f"[{percent(row['low'])}, {percent(row['high'])}]"
    return "not bounded"


def sharing_table(rows: Sequence[Row], caption: str) -> Table:
    """Tests of shared layers."""
    body = [
        (
            row["scorer"],
            " and ".join(row["cells"]) if len(row["cells"]) == 2 else "all",
            "declared" if row.get("declared") else "exploratory",
            str(row["k"]),
            fixed(row["ratio"], 2),
            fixed(row["lower"], 2),
            fixed(row["margin"], 2),
            p_value(row["adjusted_p"]),
            row["verdict"],
            p_value(row["p_different"]),
        )
        for row in rows
    ]
    header = (
        "ranking",
        "between",
        "status",
        "k",
        "ratio to the ceiling",
        "lower bound",
        "margin",
        "p",
        "verdict",
        "p, difference",
    )
    return Table(caption, header, body)


def significant(row: Row) -> bool:
    """Whether the corrected p of a row is known and at most `ALPHA`."""
    return row["adjusted_p"] is not None and row["adjusted_p"] <= ALPHA


def shares_layers(row: Row) -> bool | None:
    """Whether rankings share layers: shown, shown not to, or undecided.

    Shown not to: they differ, and by more than the margin, by the bound of the ratio mirrored at the estimate. A
    difference of any size does not refute that agreement is nearly as high.
    """
    if row["verdict"] == "shares layers":
        return True
    if row["p_different"] is None or row["p_different"] > ALPHA or row["lower"] is None:
        return None
    return False if 2 * row["ratio"] - row["lower"] < row["margin"] else None


def kept(row: Row) -> bool | None:
    """Whether an arm is as good as its reference: shown to be, shown to be worse, or undecided."""
    verdict = row["verdict"] or ""
    if verdict.startswith((BETTER, *SAME)):
        return True
    return False if verdict.startswith(WORSE) else None


def superior(row: Row) -> bool | None:
    """Whether an arm is better than its reference: shown, excluded by the interval, or undecided."""
    verdict = row["verdict"] or ""
    if verdict.startswith(BETTER):
        return True
    return False if verdict.startswith((WORSE, "equivalent", "not better")) else None


def against_controls(found: Extract) -> list[Row]:
    """Every arm against its random and its rule control, on the outcomes of a part."""
    return [row for row in of_outcome(found.rows("comparisons")) if row["role"] in ("random control", "rule control")]


def shown_better(rows: Iterable[Row], role: str) -> str:
    """On how many of the comparisons with controls of a role an arm is shown to be better."""
    shown = [superior(row) is True for row in rows if row["role"] == role]
    return f"{sum(shown)} of {len(shown)}"


def sentences(rows: Iterable[Row]) -> list[str]:
    """What the reports say, each once."""
    return list(dict.fromkeys(row["sentence"] for row in rows if row.get("sentence")))


def repeated(first: object, again: object | None) -> str:
    """Whether a study on other rows says the same."""
    if again is None:
        return "not repeated on other rows yet"
    return "the same on other rows" if again == first else f"on other rows: {again}"
