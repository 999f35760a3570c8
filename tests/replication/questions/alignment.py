"""Alignment: do data sets share layers, are rankings stable, and are few layers enough?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import fmean

from layersig.analysis.sentences import status_of
from layersig.report.numbers import fixed, p_value, percent, plural
from tests.replication.answers import Answer, Chart, Estimate, Extracts, Reply, Table, settled
from tests.replication.extracts import Row
from tests.replication.views import (
    against_controls,
    comparison_chart,
    comparison_table,
    kept,
    kept_by,
    of_outcome,
    sentences,
    share_set,
    share_table,
    shares_layers,
    sharing_table,
    shown_better,
    significant,
    span,
    superior,
)

_EARLIEST = 0.25
"""The first milestone that the published claim is about."""
_QUANTITIES = {
    "rescored": "another learning of the mask",
    "within": "another seed",
    "other half": "other rows of the data set",
    "between": "another data set",
    "identity gain": "own scores less type and depth",
}


def _agreement(rows: list[Row]) -> list[Estimate]:
    named = [
        row
        for row in rows
        if (row["quantity"] in _QUANTITIES and row["data"] is None) or row["quantity"] in ("within", "rescored")
    ]
    return [
        Estimate(
            f"{row['scorer']}: {_QUANTITIES[row['quantity']]}",
            row["data"] or "all",
            row["value"],
            row["low"],
            row["high"],
        )
        for row in named
    ]


def _data_sets(extracts: Extracts) -> Answer:
    found = extracts["rankings"]
    together = found.rows("sharing", across="data sets", family="data sets, together", scorer="ila")
    pairs = [row for row in found.rows("sharing", across="data sets") if row not in together]
    k = min(row["k"] for row in together)
    stability = found.rows("stability", k=k)
    body = [
        (row["scorer"], row["component"], percent(row["share"]), span(row["low"], row["high"]), str(row["df"]))
        for row in found.rows("components", scorer="ila")
    ]
    figures = "; ".join(
        f"top {row['k']}: {fixed(row['ratio'], 2)}, at least {fixed(row['lower'], 2)} where {fixed(row['margin'], 2)} "
        f"counts as shared (p {p_value(row['adjusted_p'])}; p {p_value(row['p_different'])} for a difference of any "
        "size)"
        for row in together
    )
    return Answer(
        settled([shares_layers(row) for row in together]),
        f"Agreement between the data sets over that of two halves of one: {figures}. Of ILA's top "
        f"{k}, two seeds agree by {_range(stability, 'within')} (kappa), two masks on the same training by "
        f"{_range(stability, 'rescored')}.",
        (Chart(f"Agreement of rankings, top {k}", "kappa (0: chance, 1: the same layers)", _agreement(stability)),),
        (
            sharing_table([*together, *pairs], "Is agreement between data sets as high as between halves of one?"),
            Table(
                "Where the variance of ILA's scores comes from",
                ("ranking", "source", "share", "interval of the variance", "df"),
                body,
            ),
        ),
        sentences(together),
    )


def _range(stability: list[Row], quantity: str) -> str:
    """Smallest and largest agreement of ILA over data sets."""
    values = [row["value"] for row in stability if (row["scorer"], row["quantity"]) == ("ila", quantity)]
    return f"{fixed(min(values), 2)} to {fixed(max(values), 2)}"


def _stable(extracts: Extracts) -> Answer:
    milestones = extracts["milestones"].rows("milestones")
    methods = extracts["full"].rows("sharing", across="scorers")
    starts = extracts["initial"].rows("sharing", across="scorers")
    verdicts = [True if row["verdict"] == "reaches the required share" else None for row in milestones]
    verdicts += [shares_layers(row) for row in (*methods, *starts)]
    body = [
        (
            percent(row["checkpoint"]),
            str(row["k"]),
            fixed(row["agreement"], 2),
            fixed(row["ceiling"], 2),
            f"{fixed(row['share'], 2)} {span(row['low'], row['high'])}",
            p_value(row["adjusted_p"]),
            status_of(row["declared"]).lower(),
            row["verdict"],
        )
        for row in milestones
    ]
    header = ("of the training", "k", "agreement with the end", "between ends", "share", "p", "status", "verdict")
    together = [row for row in starts if len(row["cells"]) > 2]
    claimed = [row for row in milestones if row["checkpoint"] >= _EARLIEST]
    moments = ", ".join(percent(share) for share in sorted({row["checkpoint"] for row in claimed}))
    reached = " and ".join(
        f"{', '.join(fixed(row['share'], 2) for row in claimed if row['k'] == k)} (top {k})"
        for k in sorted({row["k"] for row in claimed})
    )
    return Answer(
        settled(verdicts),
        f"As shares of the agreement of two seeds: after {moments} of the training {reached}; between LoRA and full "
        f"fine-tuning {_ratios(methods)}; between three initial values {_ratios(together)}.",
        (
            Chart(
                "Agreement of a milestone with the ends of other runs, over that of two ends",
                "share (1: a milestone is as good as the end)",
                [
                    Estimate(percent(row["checkpoint"]), f"top {row['k']}", row["share"], row["low"], row["high"])
                    for row in claimed
                ],
                reference=1.0,
            ),
        ),
        (
            Table("Rankings at milestones against the ends of other runs", header, body),
            sharing_table(methods, "ILA on the update of LoRA and on that of full fine-tuning"),
            sharing_table(starts, "ILA from three initial values"),
        ),
        sentences([*milestones, *methods, *starts]),
    )


def _ratios(rows: list[Row]) -> str:
    """Agreement as a share of that of two seeds, and whether it is shown to be less."""
    return " and ".join(
        f"{fixed(row['ratio'], 2)} (top {row['k']}; p {p_value(row['p_different'])} for a difference)" for row in rows
    )


def _few_layers(extracts: Extracts) -> Answer:
    found, more, tasks = extracts["arms"], extracts["more-arms"], extracts["tasks"]
    claims = found.rows("claims", declared=True)
    rows = of_outcome(found.rows("comparisons", declared=True))
    others = of_outcome(more.rows("comparisons", declared=True))
    worse = sum(kept(row) is False for row in others)
    controls = against_controls(more)
    random, rule = (shown_better(controls, f"{each} control") for each in ("random", "rule"))
    shares, further = (of_outcome(each.rows("shares")) for each in (found, more))
    good = [as_good(row, rows) for row in claims]
    against = [superior(row) for row in rows if row["role"] != "baseline"]
    benchmarks = [
        {**row, "data": f"{row['task']}, trained on {row['data']}"}
        for row in tasks.rows("comparisons", arm="all-layers", reference="base", declared=True)
    ]
    told = kept_by(shares, "ila-30")
    better = sum(each is True for each in against)
    return Answer(
        settled([*good, *against]),
        f"With one learning rate for every arm, ila-30 keeps {told} of the gain; it is shown to be better than a "
        f"control in {better} of {len(against)} comparisons (declared). On other rows, further selections are shown to "
        f"be worse than all layers in {worse} of {len(others)} comparisons (declared): ila-75 keeps "
        f"{kept_by(further, 'ila-75')}; ila-10 {kept_by(further, 'ila-10')}. The two are shown to be better than "
        f"random layers of the same types in {random} cases, than the rule of type and depth in {rule} (exploratory). "
        f"Tuning all layers is shown to move {sum(map(significant, benchmarks))} of {len(benchmarks)} scores on "
        "benchmarks (declared).",
        (
            comparison_chart(
                rows, "ila-30 and its controls", "difference of held-out losses, nats per token (lower: better)"
            ),
        ),
        (
            comparison_table(rows, "Declared comparisons on the held-out loss"),
            share_table(shares, "Share of the gain of all layers"),
            share_table(further, "Share of the gain of all layers, on other rows"),
            comparison_table(others, "Other selections against all layers, on other rows"),
            comparison_table(controls, "ILA's 75 and 10 % against their controls"),
            comparison_table(benchmarks, "Can a benchmark tell? All layers against the untouched model"),
        ),
        sentences([*claims, *rows, *others]),
    )


def _tuned_alone(extracts: Extracts) -> Answer:
    found = extracts["tuned-alone"]
    rows = of_outcome(found.rows("comparisons", arm="gradient-norm-30"))
    shares = of_outcome(found.rows("shares"))
    told = "; ".join(
        f"{arm} keeps "
        + ", ".join(f"{percent(row['share'])} {share_set(row)} on {row['data']}" for row in shares if row["arm"] == arm)
        for arm in ("gradient-norm-30", "ila-30")
    )
    against = {
        words: [row for row in rows if row["role"] == role]
        for role, words in (
            ("contrast", "ila-30"),
            ("random control", "random layers of the same types"),
            ("rule control", "the rule of type and depth"),
        )
    }
    equal = sum(row["verdict"] == "equivalent" for row in rows if row["role"] == "rule control")
    shown = ", ".join(
        f"{words} on {sum(superior(row) is True for row in each)} of {len(each)} "
        f"({'declared' if each and all(row['declared'] for row in each) else 'exploratory'})"
        for words, each in against.items()
    )
    return Answer(
        settled([superior(row) for row in against["ila-30"]]),
        f"With one learning rate for every arm, of the gain of tuning all layers, {told}. gradient-norm-30 is shown to "
        f"be better than {shown}, and equivalent to the rule on {equal}.",
        (
            comparison_chart(
                rows,
                "gradient-norm-30, ILA and the controls",
                "difference of held-out losses, nats per token (lower: better)",
            ),
        ),
        (
            comparison_table(rows, "gradient-norm-30 against ILA, all layers and its controls, on the held-out loss"),
            share_table(shares, "Share of the gain of all layers", found.rows("selections")),
        ),
        sentences(rows),
    )


def _at_own_rates(part: str, published: str, others: tuple[str, ...]) -> Reply:
    """The answer of a part whose every training is the best of some learning rates.

    Args:
        part: The part; the arms of its declared claims are those it is about.
        published: The arm of them that the published claim is about, which alone settles the answer.
        others: Further arms whose share of the gain is stated.
    """

    def reply(extracts: Extracts) -> Answer:
        found = extracts[part]
        claims = found.rows("claims", declared=True)
        rows = of_outcome(found.rows("comparisons", declared=True))
        shares = of_outcome(found.rows("shares"))
        trials = found.rows("trials")
        chosen = list(dict.fromkeys(row["arm"] for row in claims))
        settled_by: list[bool | None] = []
        declared = []
        for arm in chosen:
            good = [as_good(row, rows) for row in claims if row["arm"] == arm]
            against = [superior(row) for row in rows if row["arm"] == arm and row["role"].endswith("control")]
            settled_by += [*good, *against] if arm == published else []
            declared.append(
                f"{arm} is shown to be as good as all layers on {good.count(True)} of "
                f"{plural(len(good), 'data set')}, and better than a control in {against.count(True)} of "
                f"{plural(len(against), 'comparison')}"
            )
        tried = len({row["learning_rate"] for row in trials})
        kept_by_arm = "; ".join(f"{arm} keeps {kept_by(shares, arm)}" for arm in (*chosen, *others))
        rates = "; ".join(
            f"{arm} {_chosen(trials, arm)}"
            for arm in ("all-layers", *chosen, *(arm for arm in others if "." not in arm))
        )
        return Answer(
            settled(settled_by),
            f"Declared, with the best of {tried} learning rates for every training run: {'; '.join(declared)}. Of the "
            f"gain of all layers, {kept_by_arm}. Learning rates that were chosen: {rates}.",
            (
                comparison_chart(
                    rows, "Every arm at its own rate", "difference of held-out losses, nats per token (lower: better)"
                ),
            ),
            (
                comparison_table(rows, "Declared comparisons on the held-out loss"),
                share_table(shares, "Share of the gain of all layers", found.rows("selections")),
                _trial_table(trials),
            ),
            sentences([*claims, *rows]),
        )

    return reply


def _chosen(trials: list[Row], arm: str) -> str:
    """The learning rates of the trials that became the arm, and in how many of its trainings."""
    rates = Counter(row["learning_rate"] for row in trials if row["arm"] == arm and row["chosen"])
    return ", ".join(f"{rate:g} ({count} of {rates.total()})" for rate, count in sorted(rates.items()))


def _trial_table(trials: list[Row]) -> Table:
    """The validation loss of every arm at every rate, and in how many seeds it was the lowest."""
    rates = sorted({row["learning_rate"] for row in trials})
    runs = len({(row["arm"], row["data"], row["seed"]) for row in trials})
    found: dict[tuple[str, str], dict[float, list[Row]]] = {}
    for row in trials:
        found.setdefault((row["arm"], row["data"]), {}).setdefault(row["learning_rate"], []).append(row)
    return Table(
        "Validation loss at each learning rate, mean of the seeds, and in how many of them it was chosen "
        f"({runs} training runs of {plural(len(rates), 'trial')} each)",
        ("arm", "data", *(f"{rate:g}" for rate in rates)),
        [(*cell, *(_trial_cell(by_rate.get(rate, [])) for rate in rates)) for cell, by_rate in found.items()],
    )


def _trial_cell(trials: list[Row]) -> str:
    losses = [row["loss"] for row in trials if row["loss"] is not None]
    return f"{fixed(fmean(losses), 3)} ({sum(row['chosen'] for row in trials)})" if losses else "failed"


def as_good(claim: Row, rows: list[Row]) -> bool | None:
    """Whether an arm is as good as all layers; False where it is shown to be worse, else undecided."""
    own = [
        row for row in rows if row["role"] == "baseline" and (row["arm"], row["data"]) == (claim["arm"], claim["data"])
    ]
    if claim["conclusion"].startswith("as good"):
        return True
    return False if any(kept(row) is False for row in own) else None


ANSWERS: Mapping[str, Reply] = {
    "data-sets": _data_sets,
    "stability": _stable,
    "few-layers": _few_layers,
    "tuned-alone": _tuned_alone,
    "own-rates": _at_own_rates("own-rates", "ila-30", ("ila-30.random", "gradient-norm-30")),
    "a-tenth": _at_own_rates("a-tenth", "ila-10", ("ila-10.random", "gradient-norm-10.random")),
}
