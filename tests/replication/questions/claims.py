"""Two published claims about scores that need no training."""

from __future__ import annotations

from itertools import combinations

from layersig.report.numbers import fixed, p_value
from tests.replication.answers import Answer, Chart, Estimate, Expectation, Extracts, Holds, Question, Table, settled
from tests.replication.extracts import Extract, Row
from tests.replication.views import span

ALPHA = 0.05
PUBLISHED_LOW = 0.76
"""The weakest published correlation, arXiv 2610.11620."""
NATURAL = ("chat", "code", "mathematics")


def _fisher_rows(found: Extract) -> list[Row]:
    return found.rows("block_correlations", a="prompt-cosine", b="fisher")


def _cosine_and_fisher(found: Extract) -> Holds:
    """As the head of `claim-6.toml` declares."""
    rows = _fisher_rows(found)
    related = all(row["inner_low"] > 0 and (row["adjusted_p"] or 1.0) <= ALPHA for row in rows)
    weaker = all(row["high"] < PUBLISHED_LOW for row in rows)
    if related:
        return Holds.PARTLY if weaker else Holds.YES
    return Holds.NO if weaker else Holds.UNDECIDED


def _claim_6(extracts: Extracts) -> Answer:
    runs = {"first draw": extracts["claim-6"], "other rows": extracts["claim-6-again"]}
    estimates, body, said = [], [], []
    for name, found in runs.items():
        for row in _fisher_rows(found):
            estimates.append(Estimate(f"{row['data']}, all blocks", name, row["correlation"], row["low"], row["high"]))
            inner = Estimate(f"{row['data']}, without the first", name, row["inner"], row["inner_low"], row["inner_high"])
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
            if name == "first draw":
                said.append(f"{fixed(row['correlation'], 2)} {span(row['low'], row['high'])} on {row['data']}")
    first, again = map(_cosine_and_fisher, runs.values())
    same = "gives the same answer" if first is again else f"gives another answer: {again.value}"
    return Answer(
        first,
        f"Rank correlation over blocks {' and '.join(said)}; the study on other rows {same}.",
        (Chart("1 \u2212 cosine at the last token of the prompt, and Fisher information", "rank correlation", estimates),),
        (
            Table(
                "Rank correlation over blocks, with intervals that know that neighbouring blocks are alike; residuals "
                "of a cubic in depth, tested against surrogates as smooth",
                ("rows", "data", "all blocks", "single draws", "without the first block", "residuals", "p", "draws"),
                body,
            ),
        ),
    )


def _largest(found: Extract) -> int:
    """The size of selection that the recipe declares: the smaller one."""
    return min(row["k"] for row in found.rows("texts"))


def _differ(found: Extract, scorer: str) -> float:
    """P-value of the rankings of natural texts being different, corrected for the pairs of them."""
    pairs = {frozenset(each) for each in combinations(NATURAL, 2)}
    rows = [
        row
        for row in found.rows("sharing", scorer=scorer, across="data sets", k=_largest(found))
        if frozenset(row["cells"]) in pairs
    ]
    known = [row["p_different"] for row in rows if row["p_different"] is not None]
    return min(1.0, len(rows) * min(known, default=1.0))


def _depends(found: Extract, scorer: str) -> bool | None:
    """Whether a ranking depends on the task, as the heads of the recipes declare."""
    (nonsense,) = found.rows("texts", scorer=scorer, text="random-tokens", a="chat", k=_largest(found))
    model_alone = nonsense["adjusted_p"] is not None and nonsense["adjusted_p"] <= ALPHA
    tasks = _differ(found, scorer) <= ALPHA
    return None if model_alone is tasks else tasks


def _scorers(found: Extract) -> list[str]:
    return list(dict.fromkeys(row["scorer"] for row in found.rows("texts")))


def _claim_8(extracts: Extracts) -> Answer:
    body, estimates, verdicts = [], [], []
    for part in ("claim-8-blocks", "claim-8-modules", "claim-8-modules-again"):
        found = extracts[part]
        k = _largest(found)
        for scorer in _scorers(found):
            verdict = _depends(found, scorer)
            said = {True: "the task", False: "the model alone", None: "undecided"}[verdict]
            if part != "claim-8-modules-again":
                verdicts.append((scorer, verdict, said))
            for row in found.rows("texts", scorer=scorer, a="chat", k=k):
                estimates.append(Estimate(f"{scorer}: {row['b']}", part, row["ratio"] or 0.0, row["lower"], None))
                body.append(
                    (
                        f"`{scorer}`",
                        {"claim-8-blocks": "blocks", "claim-8-modules": "layers"}.get(part, "layers, other rows"),
                        f"chat and {row['b']}",
                        f"{k} of {row['of']}",
                        fixed(row["kappa"], 2),
                        fixed(row["ceiling"], 2),
                        f"{fixed(row['ratio'], 2)}, at least {fixed(row['lower'], 2)}",
                        p_value(row["adjusted_p"]),
                        said,
                    )
                )
    told = "; ".join(f"{scorer}: {said}" for scorer, _, said in verdicts)
    header = ("scorer", "units", "texts", "top", "kappa", "between seeds", "ratio", "p, ratio above 0.9", "depends on")
    return Answer(
        settled([verdict for _, verdict, _ in verdicts]),
        f"What each ranking is shown to depend on: {told}.",
        (Chart("Agreement with the ranking on chat, as a share of that of two seeds", "share", estimates, 1.0, 0.1),),
        (Table("Agreement of rankings on two texts, beside that of two seeds on one", header, body),),
    )


def _at_random(extracts: Extracts, part: str, scorer: str) -> float:
    (row,) = extracts[part].rows("texts", scorer=scorer, text="random-tokens", a="chat", k=_largest(extracts[part]))
    return float(row["ratio"] or 0.0)


QUESTIONS = (
    Question(
        "cosine-and-fisher",
        "Does the cosine at the last token predict Fisher information?",
        "Blocks whose hidden state turns most at the last token of the prompt have the most Fisher information; rank "
        "correlations of cosine and Fisher information are \u22120.76 to \u22120.91 over the blocks of four models (LS-LoRA, "
        "arXiv 2610.11620). A public re-test on another model found \u22120.08.",
        ("claim-6", "claim-6-again"),
        "Both scores for every block, each on the same draws of conversations from two kinds of data. The score here is "
        "1 \u2212 cosine, so the published correlations are positive. Fisher information is the trace of the empirical one, "
        "from gradients of single answers. The study was repeated on other rows of the same data sets.",
        "One small, instruction-tuned model. A claim about models of 1 to 8 billion parameters is not refuted by it; that "
        "the relation holds for any transformer is.",
        "Models of the published sizes: `model.source=hub:...` in the same recipe.",
        _claim_6,
        (
            Expectation(
                "claim-6",
                "a weak correlation, on either data set far from the published ones",
                lambda extracts: all(row["correlation"] < PUBLISHED_LOW for row in _fisher_rows(extracts["claim-6"])),
            ),
        ),
    ),
    Question(
        "task-or-model",
        "Do rankings without training depend on the task, or on the model alone?",
        "Layers chosen by feature norms (PLoP, arXiv 2506.20629), by the similarity of a block's input and output (CKA, "
        "arXiv 2602.05988), by cosine (LS-LoRA, arXiv 2610.11620) and by gradients (arXiv 2604.15351, 2605.06183) fit the "
        "task.",
        ("claim-8-blocks", "claim-8-modules", "claim-8-modules-again"),
        "Each score ranks blocks or layers on chat, code and mathematics, on the chats with the words of every turn in "
        "random order, and on random tokens in their place. A ranking that is as much like that on random tokens as two "
        "seeds are like each other measures the model. The study of layers was repeated on other rows.",
        "One small, instruction-tuned model. Whether a choice of layers that fits the task is worth more is another "
        "question: see the leaderboard.",
        "More seeds narrow the bound of the ratio; other models say whether this is one model's habit.",
        _claim_8,
        (
            Expectation(
                "claim-8-modules",
                "the ranking of PLoP hardly changes with the text",
                lambda extracts: _at_random(extracts, "claim-8-modules", "feature-norm") >= 0.8,
            ),
        ),
    ),
)
