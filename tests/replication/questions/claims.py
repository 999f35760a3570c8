"""Two published claims about scores that need no training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from layersig.report.numbers import fixed, p_value
from tests.replication.answers import Answer, Chart, Estimate, Extracts, Holds, Reply, Table, settled
from tests.replication.extracts import Extract, Row
from tests.replication.views import ALPHA, repeated, significant, some, span

PUBLISHED_LOW = 0.76
"""The weakest published correlation, arXiv 2610.11620."""
NATURAL = ("chat", "code", "mathematics")
_SAID = {True: "the task", False: "the model alone", None: "undecided"}


def fisher_rows(found: Extract) -> list[Row]:
    """Correlations of cosine and Fisher information, one a data set; at least one."""
    return some(found.rows("block_correlations", a="prompt-cosine", b="fisher"))


def cosine_and_fisher(found: Extract) -> Holds:
    """As the head of `claim-6.toml` declares."""
    rows = fisher_rows(found)
    related = all(row["inner_low"] > 0 and significant(row) for row in rows)
    weaker = all(row["high"] < PUBLISHED_LOW for row in rows)
    if related:
        return Holds.PARTLY if weaker else Holds.YES
    return Holds.NO if weaker else Holds.UNDECIDED


def _claim_6(extracts: Extracts) -> Answer:
    runs = {"first rows": extracts["claim-6"]}
    if (repeat := extracts.get("claim-6-again")) is not None:
        runs["other rows"] = repeat
    estimates, body, said = [], [], []
    for name, found in runs.items():
        for row in fisher_rows(found):
            estimates.append(Estimate(f"{row['data']}, all blocks", name, row["correlation"], row["low"], row["high"]))
            inner = Estimate(
                f"{row['data']}, without the first", name, row["inner"], row["inner_low"], row["inner_high"]
            )
            estimates.append(inner)
            body.append(
                (
                    name,
                    row["data"],
                    f"{fixed(row['correlation'], 2)} {span(row['low'], row['high'])}",
                    f"{fixed(row['run_low'], 2)} to {fixed(row['run_high'], 2)}",
                    f"{fixed(row['inner'], 2)} {span(row['inner_low'], row['inner_high'])}",
                    fixed(row["residual"], 2),
                    p_value(row["adjusted_p"]),
                    str(row["runs"]),
                )
            )
            if name == "first rows":
                said.append(f"{fixed(row['correlation'], 2)} {span(row['low'], row['high'])} on {row['data']}")
    first, *again = map(cosine_and_fisher, runs.values())
    return Answer(
        first,
        f"Rank correlation over blocks {' and '.join(said)}; {repeated(first, next(iter(again), None))}.",
        (
            Chart(
                "1 \u2212 cosine at the last token of the prompt, and Fisher information", "rank correlation", estimates
            ),
        ),
        (
            Table(
                "Rank correlation over blocks, with intervals that know that neighbouring blocks are alike; residuals "
                "of a cubic in depth, tested against surrogates as smooth",
                ("rows", "data", "all blocks", "single draws", "without the first block", "residuals", "p", "draws"),
                body,
            ),
        ),
    )


def _declared_size(found: Extract) -> int:
    """The size of selection that the recipe declares: the smaller one."""
    return min(row["k"] for row in found.rows("texts"))


def _differ(found: Extract, scorer: str) -> float:
    """P-value of the rankings of natural texts being different, corrected for the pairs of them."""
    pairs = {frozenset(each) for each in combinations(NATURAL, 2)}
    rows = some(
        row
        for row in found.rows("sharing", scorer=scorer, across="data sets", k=_declared_size(found))
        if frozenset(row["cells"]) in pairs
    )
    known = [row["p_different"] for row in rows if row["p_different"] is not None]
    return min(1.0, len(rows) * min(known, default=1.0))


def depends(found: Extract, scorer: str) -> bool | None:
    """Whether a ranking depends on the task, as the heads of the recipes declare."""
    (nonsense,) = found.rows("texts", scorer=scorer, text="random-tokens", a="chat", k=_declared_size(found))
    if significant(nonsense):
        return False
    return True if _differ(found, scorer) <= ALPHA else None


def _scorers(found: Extract) -> list[str]:
    return list(dict.fromkeys(row["scorer"] for row in found.rows("texts")))


def at_random(found: Extract, scorer: str) -> float:
    """Agreement with the ranking on random tokens as a share of that of two seeds."""
    (row,) = found.rows("texts", scorer=scorer, text="random-tokens", a="chat", k=_declared_size(found))
    return float(row["ratio"] or 0.0)


def types_of(found: Extract) -> dict[tuple[str, str], dict[str, Row]]:
    """How many layers of each module type are in the top, by scorer and type, and by text."""
    chosen: dict[tuple[str, str], dict[str, Row]] = {}
    for row in found.rows("concentration", by="kind", k=_declared_size(found)):
        chosen.setdefault((row["scorer"], row["group"]), {})[row["data"]] = row
    return {place: rows for place, rows in chosen.items() if any(row["layers"] != row["k"] for row in rows.values())}


def _types(found: Extract) -> list[Table]:
    """The module types of the top on every text; nothing where units are blocks, which are of one type."""
    rows = types_of(found)
    if len({group for _, group in rows}) < 2:
        return []
    texts = list(next(iter(rows.values())))
    body = [
        (
            f"`{scorer}`",
            f"`{group}`",
            *(f"{by_text[text]['selected']:g} of {by_text[text]['layers']}" for text in texts),
        )
        for (scorer, group), by_text in rows.items()
    ]
    return [Table("Layers of each module type in the top, mean over seeds", ("scorer", "type", *texts), body)]


def _task_or_model(part: str, repeat: str | None = None) -> Reply:
    """The answer from a part, and from the same study on other rows where there is one."""

    def answer(extracts: Extracts) -> Answer:
        runs = {"first rows": extracts[part]}
        if repeat in extracts:
            runs["other rows"] = extracts[repeat]
        body, estimates = [], []
        for name, found in runs.items():
            k = _declared_size(found)
            for row in (row for scorer in _scorers(found) for row in found.rows("texts", scorer=scorer, a="chat", k=k)):
                label = f"{row['scorer']}: {row['b']}"
                estimates.append(Estimate(label, name, row["ratio"] or 0.0, row["lower"], None))
                body.append(
                    (
                        name,
                        f"`{row['scorer']}`",
                        f"chat and {row['b']}",
                        f"{k} of {row['of']}",
                        fixed(row["kappa"], 2),
                        fixed(row["ceiling"], 2),
                        f"{fixed(row['ratio'], 2)}, at least {fixed(row['lower'], 2)}",
                        p_value(row["adjusted_p"]),
                        p_value(_differ(found, row["scorer"])),
                        _SAID[depends(found, row["scorer"])],
                    )
                )
        first, *again = ({scorer: depends(found, scorer) for scorer in _scorers(found)} for found in runs.values())
        said, *elsewhere = (
            ", ".join(f"{scorer}: {_SAID[each[scorer]]}" for scorer in each) for each in (first, *again)
        )
        left = {scorer: fixed(at_random(runs["first rows"], scorer), 2) for scorer in first}
        told = "; ".join(
            f"{scorer}: {_SAID[verdict]} ({left[scorer]} of the agreement of seeds is left on random tokens)"
            for scorer, verdict in first.items()
        )
        header = (
            "rows",
            "scorer",
            "texts",
            "top",
            "kappa",
            "between seeds",
            "ratio",
            "p, ratio above 0.9",
            "p, tasks differ",
            "depends on",
        )
        return Answer(
            settled(list(first.values())),
            f"What each ranking is shown to depend on: {told}; {repeated(said, next(iter(elsewhere), None))}.",
            (
                Chart(
                    "Agreement with the ranking on chat, as a share of that of two seeds", "share", estimates, 1.0, 0.1
                ),
            ),
            (
                Table("Agreement of rankings on two texts, beside that of two seeds on one", header, body),
                *_types(runs["first rows"]),
            ),
        )

    return answer


ANSWERS: Mapping[str, Reply] = {
    "cosine-and-fisher": _claim_6,
    "layers-and-tasks": _task_or_model("claim-8-modules", "claim-8-modules-again"),
    "blocks-and-tasks": _task_or_model("claim-8-blocks", "claim-8-blocks-again"),
}
