"""Which estimator of importance is right, and what it costs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layersig.report.numbers import fixed, p_value, percent, seconds
from tests.replication.answers import Answer, Chart, Estimate, Extracts, Reply, Table, settled
from tests.replication.extracts import Extract, Row
from tests.replication.views import (
    against_controls,
    comparison_chart,
    comparison_table,
    kept,
    kept_by,
    of_outcome,
    sentences,
    share_table,
    shown_better,
    span,
    superior,
)

TRUTH = "fresh-loss"
"""The scorer that measures leave-one-update-out on conversations that no training saw."""
ILA = "ila-30"
UNTRAINED = "gradient-norm-30"
"""The simplest of the arms whose ranking needs no training."""


def with_truth(found: Extract) -> list[tuple[str, Row]]:
    """Every scorer with its row of correlations with the yardstick."""
    rows = [row for row in found.rows("estimators") if TRUTH in (row["a"], row["b"])]
    return [(row["a"] if row["b"] == TRUTH else row["b"], row) for row in rows]


def _correlations(found: Extract) -> tuple[Chart, Table]:
    pairs = with_truth(found)
    estimates = [
        Estimate(scorer, row["data"] or "", row["corrected"], row["low"], row["high"])
        for scorer, row in pairs
        if row["corrected"] is not None and row["shape"] == "interval"
    ]
    body = [
        (
            f"`{scorer}`",
            row["data"] or "\u2013",
            fixed(row["correlation"], 2),
            fixed(row["reliability_a"] if row["b"] == TRUTH else row["reliability_b"], 2),
            fixed(row["reliability_b"] if row["b"] == TRUTH else row["reliability_a"], 2),
            fixed(row["corrected"], 2) + (f" {span(row['low'], row['high'])}" if row["shape"] == "interval" else ""),
        )
        for scorer, row in pairs
    ]
    header = ("scorer", "data", "Spearman", "with itself", "yardstick with itself", "corrected [set]")
    return (
        Chart(
            "Rank correlation with leave-one-out on unseen conversations, corrected for noise", "correlation", estimates
        ),
        Table("Agreement with leave-one-update-out on unseen conversations", header, body),
    )


def _right(extracts: Extracts) -> Answer:
    found = extracts["estimators"]
    rows = of_outcome(found.rows("comparisons", declared=True))
    contrasts = [row for row in rows if row["role"] != "baseline"]
    others = [row for row in of_outcome(found.rows("comparisons", role="other scorer")) if row["arm"] == ILA]
    chart, table = _correlations(found)
    shares = sorted(of_outcome(found.rows("shares")), key=lambda row: (row["data"], -row["share"]))
    beaten = [superior(row) is True for row in contrasts if row["reference"] == ILA]
    better = sum(superior(row) is True for row in contrasts)
    without = [row for row in others if row["reference"] == UNTRAINED]
    more = f"shown to be more on {sum(kept(row) is False for row in without)} of {len(without)}"
    itself = ", ".join(f"{fixed(value, 2)} on {data}" for data, value in yardstick(found).items())
    return Answer(
        settled([*(False if each else None for each in beaten), *map(_for_less, others)]),
        f"path-30, declared, is shown to be better as a graft in {better} of {len(contrasts)} comparisons with ILA and "
        f"the controls. ILA's 30 % keep {kept_by(shares, ILA)} of the gain; those with the largest gradients, which "
        f"need no training, {kept_by(shares, UNTRAINED)} (exploratory; {more}). Leave-one-out cannot judge: two seeds "
        f"of it correlate by {itself}.",
        (
            Chart(
                "Share of the gain that 30 % of the layers keep as a graft",
                "share (1: as much as all layers)",
                [Estimate(row["arm"], row["data"], row["share"], row["low"], row["high"]) for row in shares],
                reference=1.0,
            ),
            comparison_chart(
                rows, "path-30 as a graft", "difference of held-out losses, nats per token (lower: better)"
            ),
            *([chart] if chart.estimates else []),
        ),
        (
            share_table(shares, "Share of the gain that each graft keeps", found.rows("selections")),
            comparison_table(rows, "Declared comparisons of grafts"),
            comparison_table(others, "ILA against every other scorer"),
            table,
        ),
        sentences(rows),
    )


def _for_less(row: Row) -> bool | None:
    """Whether a scorer that is compared with ILA finds layers that are as good: shown to, or not to, or undecided."""
    verdict = row["verdict"] or ""
    if verdict.startswith(("worse", "equivalent", "not better")):
        return True
    return False if verdict.startswith("better") else None


def yardstick(found: Extract) -> dict[str, float]:
    """Correlation of two seeds of leave-one-out, by data set."""
    return {row["data"]: row["reliability_b" if row["b"] == TRUTH else "reliability_a"] for _, row in with_truth(found)}


def _cost(extracts: Extracts) -> Answer:
    found = extracts["cost"]
    rows = [row for row in of_outcome(found.rows("comparisons", declared=True)) if row["reference"] == "ila-30"]
    controls = against_controls(found)
    random, rule = (shown_better(controls, f"{each} control") for each in ("random", "rule"))
    k = min(row["k"] for row in found.rows("ceilings"))
    noise = found.rows("ceilings", k=k)
    body = [
        (
            f"`{row['scorer']}`",
            percent(row["checkpoint"]),
            f"{fixed(row['kappa'], 2)} {span(row['low'], row['high'])}",
            fixed(row["residual"], 2),
            row["verdict"],
        )
        for row in noise
    ]
    costs = [
        (
            f"`{row['scorer']}`",
            seconds(row["seconds"]),
            percent(row["of_training"]),
            "yes" if row["reads_update"] else "no",
            percent(row["kept"]),
        )
        for row in found.rows("leaderboard")
    ]
    told = ", ".join(
        f"{row['arm']} {fixed(row['estimate'], 4, signed=True)} {span(row['low'], row['high'], 4)}" for row in rows
    )
    arms: dict[str, list[str]] = {}
    for row in rows:
        arms.setdefault(row["verdict"], []).append(row["arm"])
    shown = "; ".join(f"{', '.join(each)} {verdict}" for verdict, each in arms.items())
    seeds = ", ".join(f"{row['scorer']} {fixed(row['kappa'], 2)}" for row in noise if row["kappa"] is not None)
    paid = ", ".join(
        f"{row['scorer']} {percent(row['kept'])} of the gain for {percent(row['of_training'])}"
        for row in found.rows("leaderboard")
        if row["of_training"] is not None
    )
    return Answer(
        settled([kept(row) for row in rows if row["arm"] != "long-30"]),
        f"Grafts against that of ila-30 (declared): {shown}. Held-out loss minus that of ila-30: {told}. What a "
        f"graft keeps, and what its ranking costs of one training: {paid}. Grafts are shown to be better than random "
        f"layers of the same types in {random} cases, than the rule of type and depth in {rule} (exploratory). "
        f"Agreement of two seeds, top {k} (kappa): {seeds}.",
        (
            comparison_chart(
                rows, "Cheaper rankings against ILA", "difference of held-out losses, nats per token (lower: better)"
            ),
            Chart(
                f"Agreement of two seeds, top {k}",
                "kappa",
                [
                    Estimate(row["scorer"], "", row["kappa"], row["low"], row["high"])
                    for row in noise
                    if row["kappa"] is not None
                ],
            ),
        ),
        (
            comparison_table(rows, "Declared comparisons of grafts"),
            comparison_table(controls, "Each graft against its controls"),
            Table(
                "Noise of each ranking",
                ("scorer", "at", "kappa of two seeds", "beyond type and depth", "verdict"),
                body,
            ),
            Table(
                "What a ranking costs",
                ("scorer", "time", "of a reference training", "needs the training", "gain kept"),
                costs,
            ),
        ),
        sentences(rows),
    )


def leaderboard(found: Extract) -> Sequence[Table]:
    """Scorers side by side, the best first on every data set."""
    tables = []
    rows = [row for row in found.rows("leaderboard") if row["arm"] is not None]
    for data in dict.fromkeys(row["data"] for row in rows):
        own = sorted((row for row in rows if row["data"] == data), key=lambda row: -(row["kept"] or float("-inf")))
        body = [
            (
                f"`{row['scorer']}`",
                f"{percent(row['kept'])} {_ends(row, 'kept', 100)}",
                f"{fixed(row['leave_one_out'], 2)} {_ends(row, 'leave_one_out')}",
                f"{fixed(row['stability'], 2)} {_ends(row, 'stability')}",
                f"{row['rule'] or ''} {fixed(row['rule_kappa'], 2)}",
                p_value(row["random_p"]),
                percent(row["of_training"]),
            )
            for row in own
        ]
        header = (
            "scorer",
            "gain kept by its 30 %",
            "leave-one-out",
            "two seeds",
            "nearest rule of place",
            "p, better than random",
            "cost, of a training",
        )
        tables.append(Table(f"On {data}", header, body))
    return tables


def _ends(row: Row, name: str, scale: float = 1.0) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if low is None and high is None:
        return ""
    decimals = 0 if scale == 100 else 2
    return span(*(None if end is None else scale * end for end in (low, high)), decimals)


ANSWERS: Mapping[str, Reply] = {
    "estimators": _right,
    "cost": _cost,
}
