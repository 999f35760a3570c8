"""What the heads of the recipes expect, and whether results agree; a head that is wrong is to be rewritten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from tests.replication.extracts import Extract
from tests.replication.questions.claims import PUBLISHED_LOW, depends, fisher_rows, types_of
from tests.replication.questions.data import carried, shown_worse
from tests.replication.questions.estimators import yardstick
from tests.replication.views import WORSE, of_outcome, shares_layers, significant, some, superior


@dataclass(frozen=True)
class Expectation:
    """The words after "What to expect" in the head of a part's recipe, and what they say of its results."""

    text: str
    met: Callable[[Extract], bool]


def _shares(found: Extract, arm: str) -> list[float]:
    return [row["share"] for row in of_outcome(found.rows("shares")) if row["arm"].startswith(arm)]


def _rankings(found: Extract) -> bool:
    k = min(row["k"] for row in found.rows("ceilings"))
    seeds = found.rows("ceilings", scorer="ila", k=k)
    again = {row["data"]: row["value"] for row in found.rows("stability", scorer="ila", k=k, quantity="rescored")}
    together = found.rows("sharing", scorer="ila", family="data sets, together")
    agree = some(row["verdict"] == "above chance" and row["kappa"] > again[row["data"]] for row in seeds)
    return all(agree) and all(some(shares_layers(row) is None for row in together))


def _estimators(found: Extract) -> bool:
    kept = {(row["arm"], row["data"]): row["share"] for row in of_outcome(found.rows("shares"))}
    more = (
        kept[arm, data] > kept["ila-30", data]
        for arm in ("gradient-norm-30", "path-30")
        for data in {data for _, data in kept}
    )
    return all(some(more)) and max(yardstick(found).values()) < 0.5


def _tuned_alone(found: Extract) -> bool:
    by_gradients, by_ila = (
        {row["data"]: row["share"] for row in of_outcome(found.rows("shares")) if row["arm"] == arm}
        for arm in ("gradient-norm-30", "ila-30")
    )
    rules = of_outcome(found.rows("comparisons", arm="gradient-norm-30", role="rule control"))
    more = some(by_gradients[data] > by_ila[data] for data in by_gradients.keys() | by_ila.keys())
    return all(more) and not any(some(superior(row) is True for row in rules))


def _higher_rates(found: Extract) -> bool:
    rates: dict[tuple[str, str], list[float]] = {}
    for row in found.rows("trials", chosen=True):
        rates.setdefault((row["arm"], row["data"]), []).append(row["learning_rate"])
    higher = (
        fmean(own) > fmean(rates["all-layers", data]) for (arm, data), own in rates.items() if arm != "all-layers"
    )
    return all(some(higher))


def _own_rates(found: Extract) -> bool:
    chosen = [row["share"] for row in of_outcome(found.rows("shares", arm="ila-30"))]
    random = of_outcome(found.rows("comparisons", arm="ila-30", reference="ila-30.random"))
    return _higher_rates(found) and min(chosen) > 0.85 and all(some(row["verdict"] == "undecided" for row in random))


def _a_tenth(found: Extract) -> bool:
    kept = {row["arm"]: row["share"] for row in of_outcome(found.rows("shares"))}
    arms = ("ila-10", "gradient-norm-10")
    fifths = all(0.75 < kept[each] < 0.85 for arm in arms for each in (arm, f"{arm}.random"))
    controls = [
        superior(row) for row in of_outcome(found.rows("comparisons", declared=True)) if "." in row["reference"]
    ]
    return _higher_rates(found) and fifths and not any(some(controls))


def _cost(found: Extract) -> bool:
    better = [
        superior(row)
        for arm in ("quarter-30", "path-30", "gradient-norm-30")
        for row in some(of_outcome(found.rows("comparisons", arm=arm, reference="ila-30")))
    ]
    k = min(row["k"] for row in found.rows("ceilings"))
    agreement = {row["scorer"]: row["kappa"] for row in found.rows("ceilings", k=k)}
    return all(better) and agreement["sgd"] > 2 * agreement["ila"]


def _kinds(found: Extract) -> bool:
    together = found.rows("sharing", across="data sets", family="data sets, together")
    matrix = some(carried(found))
    apart = some(shares_layers(row) is False and 0.4 < row["ratio"] < 0.6 for row in together)
    return all(apart) and sum(map(shown_worse, matrix)) <= len(matrix) / 4


def _pruning(found: Extract) -> bool:
    losses = {row["arm"]: row["value"] for row in found.rows("results") if row["task"].startswith("heldout/")}
    worst = all(
        losses[f"reverse-{k}"] == max(losses[f"{arm}-{k}"] for arm in ("bi", "greedy", "reverse")) for k in (3, 5, 8)
    )
    written = found.rows("comparisons", arm="bi-3", reference="reverse-3", task="arithmetic_written")
    kept = {(row["arm"], row["task"]): row["retention"] for row in found.rows("retention")}
    by_model = [f"{strategy}-{k}" for strategy in ("bi", "greedy") for k in (3, 5, 8)]
    lost = all(kept[arm, f"arithmetic_{way}"] < 0.5 for arm in by_model for way in ("answer", "written"))
    arc_easy = [row for row in found.rows("retention", task="arc_easy") if row["arm"] in by_model]
    moved = [row for row in found.rows("comparisons", task="arc_easy", reference="base") if row["arm"] in by_model]
    nothing_kept = all(some(row["corrected_low"] < 0 for row in arc_easy))
    no_loss = not any(some(map(significant, moved)))
    costs_more = all(some((row["verdict"] or "").startswith(WORSE) for row in written))
    return worst and lost and nothing_kept and no_loss and costs_more


def _recovery(found: Extract) -> bool:
    declared = [row for row in of_outcome(found.rows("comparisons", declared=True)) if row["reference"] == "bi-5"]
    neither = [row for row in found.rows("own_responses") if not row["task"].startswith("heldout/")]
    arc_easy = found.rows("comparisons", task="arc_easy")
    arithmetic = [
        row for row in found.rows("comparisons", arm="bi-5-recovered") if row["task"].startswith("arithmetic_")
    ]
    return (
        all(some(row["verdict"].startswith("better") for row in declared))
        and not any(some(map(significant, neither)))
        and not any(some(map(significant, arc_easy)))
        and all(some(significant(row) for row in arithmetic if row["reference"] == "base"))
        and not any(some(significant(row) for row in arithmetic if row["reference"] != "base"))
    )


def _same_types(found: Extract) -> bool:
    """Whether no type gains or loses more than a tenth of its layers between two texts, random tokens among them."""
    texts = some(by_text for (scorer, _), by_text in types_of(found).items() if scorer == "feature-norm")
    selected = [[by_text["random"]["selected"], *(row["selected"] for row in by_text.values())] for by_text in texts]
    layers = [by_text["random"]["layers"] for by_text in texts]
    same = (max(each) - min(each) <= count / 10 for each, count in zip(selected, layers, strict=True))
    return all(some(len(by_text) > 1 for by_text in texts)) and depends(found, "feature-norm") is True and all(same)


EXPECTED: dict[str, Expectation] = {
    "rankings": Expectation(
        "seeds agree above chance on every data set, and better than two masks do that are learned on one training; "
        "whether data sets share 0.9 of what two halves share stays open.",
        _rankings,
    ),
    "arms": Expectation(
        "30 % of the layers keep most of the gain, whoever chooses them.",
        lambda found: min(_shares(found, "ila-30")) > 0.5,
    ),
    "more-arms": Expectation(
        "75 % of the layers keep more of the gain than 10 %.",
        lambda found: fmean(_shares(found, "ila-75")) > fmean(_shares(found, "ila-10")),
    ),
    "tasks": Expectation(
        "no benchmark can tell, which is why the held-out loss is the outcome of the other studies.",
        lambda found: not any(some(map(significant, found.rows("comparisons", arm="all-layers", declared=True)))),
    ),
    "estimators": Expectation(
        "path attribution and gradient norms find layers that keep more of the gain than ILA's on every data set; two "
        "seeds of leave-one-out on one batch agree too little to judge by it.",
        _estimators,
    ),
    "tuned-alone": Expectation(
        "gradient norms keep more of the gain than ILA on every data set, and are not shown to be better than the rule "
        "of type and depth that is fitted to them.",
        _tuned_alone,
    ),
    "own-rates": Expectation(
        "few layers are best at higher rates than all, and keep nine tenths of the gain or nearly so; ILA's are not "
        "shown to differ from random ones.",
        _own_rates,
    ),
    "a-tenth": Expectation(
        "a tenth of the layers is best at higher rates than all, and keeps about four fifths of the gain, as do random "
        "layers of the same types; no choice is shown to be better.",
        _a_tenth,
    ),
    "cost": Expectation(
        "ILA after a quarter of the training, path attribution and gradient norms have better grafts than ILA at the "
        "end; masks learned by plain gradient descent agree more than twice as well between seeds.",
        _cost,
    ),
    "kinds": Expectation(
        "kinds of work agree about half as well as two seeds of one kind do; even so, layers of another kind are "
        "rarely shown to be worse as grafts.",
        _kinds,
    ),
    "data": Expectation(
        "eight data sets show no dependence.",
        lambda found: all(some(row["verdict"] == "cannot tell" for row in found.rows("dependence"))),
    ),
    "pruning": Expectation(
        "removal from the end has the highest loss, yet removing three blocks there costs the least arithmetic; "
        "block influence and the greedy search lose arithmetic by choice as well as in writing; ARC-Easy shows neither "
        "a loss nor anything kept above its floor.",
        _pruning,
    ),
    "recovery": Expectation(
        "recovery lowers the held-out loss; neither a loss nor a regain of ARC-Easy is shown, and arithmetic stays "
        "lost; no task that favours neither kind of response tells them apart.",
        _recovery,
    ),
    "claim-6": Expectation(
        "a weak correlation, on either data set far from the published ones.",
        lambda found: all(row["correlation"] < PUBLISHED_LOW for row in fisher_rows(found)),
    ),
    "claim-8-blocks": Expectation(
        "no ranking of blocks is shown to be the same on random tokens.",
        lambda found: not any(some(depends(found, row["scorer"]) is False for row in found.rows("texts"))),
    ),
    "claim-8-modules": Expectation(
        "single layers change with the text, but PLoP takes the same module types on random tokens as on any task.",
        _same_types,
    ),
}
"""By part."""
