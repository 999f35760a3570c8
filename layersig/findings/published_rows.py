"""What published numbers can mean: each in figures and sentences, corrected over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from layersig.analysis.multiplicity import holm
from layersig.analysis.published import AccuracyCheck, OverlapCheck
from layersig.findings.published import Kind, PublishedTable

Span = tuple[float, float]

_SHARES_SHOWN = (0.02, 0.05, 0.1, 0.2)

LIMITS: Mapping[Kind, str] = {
    "overlap": (
        "Chance means sets drawn uniformly. Scores that differ by module type or are smooth over depth make sets agree "
        "beyond that without any knowledge of single layers, and whether data sets agree as much as seeds do cannot be "
        "seen without the seeds: an overlap far above chance shows neither that single layers were identified nor that "
        "they matter."
    ),
    "accuracies": (
        "This is about two checkpoints on these items. A claim about the methods behind them needs several training "
        "runs of each, whose spread is not in these numbers."
    ),
}
"""What numbers of a kind leave open, whatever they are."""


def rows(checked: Sequence[PublishedTable], alpha: float) -> list[dict[str, Any]]:
    """Every check in figures and sentences, p-values corrected over all that have one (Holm).

    Where a figure allows several counts, a p-value is a range, and so is the corrected one: Holm's correction of all
    smallest and of all largest p-values.
    """
    tested = [each for each in checked if each.check is not None]
    spans = [each.check.p for each in tested if each.check is not None]
    adjusted: list[Span] = []
    if spans:
        low, high = (holm(np.array(ends)) for ends in zip(*spans, strict=True))
        adjusted = list(zip(low.tolist(), high.tolist(), strict=True))
    corrected = dict(zip(map(id, tested), adjusted, strict=True))
    found = []
    for each in checked:
        row: dict[str, Any] = {"name": each.name, "kind": each.kind, "reported": dict(each.reported)}
        if each.check is None:
            found.append({**row, "verdict": "impossible", "sentences": [f"{each.impossible}."]})
            continue
        span = corrected[id(each)]
        row |= {"p": list(each.check.p), "adjusted_p": list(span), "tests": len(tested)}
        row["verdict"] = _verdict(span, alpha)
        if isinstance(each.check, OverlapCheck):
            row |= _overlap_figures(each.check, alpha)
            row["sentences"] = list(_overlap_sentences(each.check, row, alpha))
        else:
            row |= _accuracy_figures(each.check, alpha)
            row["sentences"] = list(_accuracy_sentences(each.check, row, alpha))
        found.append(row)
    return found


def _verdict(adjusted: Span, alpha: float) -> str:
    low, high = adjusted
    return "significant" if high <= alpha else "not significant" if low > alpha else "undetermined"


def _overlap_figures(check: OverlapCheck, alpha: float) -> dict[str, Any]:
    low, high = check.law.overlap_range(1 - alpha)
    jaccard_low, jaccard_high = check.law.jaccard_range(1 - alpha)
    return {
        "shared": [check.shared.least, check.shared.most],
        "jaccard": list(check.jaccard),
        "jaccard_of_rest": None if check.rest is None else list(check.rest),
        "kappa": None if check.kappa is None else list(check.kappa),
        "chance": {
            "shared": check.law.mean,
            "shared_low": low,
            "shared_high": high,
            "jaccard": check.law.jaccard_mean,
            "jaccard_low": jaccard_low,
            "jaccard_high": jaccard_high,
        },
        "in_play": None if check.in_play is None else {"elements": check.in_play[0], "sets": check.in_play[1]},
    }


def _overlap_sentences(check: OverlapCheck, row: Mapping[str, Any], alpha: float) -> Iterator[str]:
    chance = row["chance"]
    sizes = str(check.size_a) if check.size_a == check.size_b else f"{check.size_a} and {check.size_b}"
    yield (
        f"The figure stands for {check.shared} shared of {sizes} (Jaccard {_span(row['jaccard'], 3)}). Two random sets "
        f"share {chance['shared']:.1f} on average: Jaccard {chance['jaccard']:.3f}, and "
        f"{chance['jaccard_low']:.3f} to {chance['jaccard_high']:.3f} in {100 * (1 - alpha):.4g} % of cases."
    )
    if row["kappa"] is None:
        yield "Sets of these sizes leave chance no freedom: the overlap says nothing."
        return
    yield f"Corrected for chance the overlap is kappa {_span(row['kappa'], 2)} (0: chance, 1: equal sets)."
    direction = "more" if row["kappa"][0] > 0 else "less" if row["kappa"][1] < 0 else "neither more nor less"
    if row["verdict"] == "significant":
        yield f"They overlap {direction} than random sets do ({_p(row)})."
    elif row["verdict"] == "not significant":
        yield f"The overlap cannot be distinguished from that of random sets ({_p(row)})."
    else:
        yield (
            "Whether it can be distinguished from that of random sets depends on how the figure was rounded "
            f"({_p(row)})."
        )
    if row["in_play"] is not None and row["kappa"][0] > 0:
        yield (
            f"Chance alone gives it if the {_sets(check)} {row['in_play']['sets']} are drawn at random from the same "
            f"{row['in_play']['elements']:.0f} of {check.n}, independently."
        )


def _sets(check: OverlapCheck) -> str:
    selected = check.size_a + check.size_b <= check.n
    a, b = (check.size_a, check.size_b) if selected else (check.n - check.size_a, check.n - check.size_b)
    return str(a) if a == b else f"{a} and {b}"


def _accuracy_figures(check: AccuracyCheck, alpha: float) -> dict[str, Any]:
    unpaired = check.unpaired(1 - alpha)
    wanted = {check.possible.least, check.possible.most, check.independent} if check.discordant is None else set()
    wanted |= {round(share * check.items) for share in _SHARES_SHOWN if check.discordant is None}
    wanted |= {check.possible.least} if check.discordant is not None else set()
    at = [found for count in sorted(wanted) if (found := check.at(count, alpha)) is not None]
    return {
        "items": check.items,
        "solved": [[check.first.least, check.first.most], [check.second.least, check.second.most]],
        "difference": list(check.difference),
        "unpaired": {"low": unpaired.low, "high": unpaired.high, "level": unpaired.level},
        "discordant": [check.possible.least, check.possible.most],
        "independent": check.independent,
        "significant_up_to": check.most_for(alpha),
        "at": [
            {"discordant": each.discordant, "p": each.p, "detectable": each.detectable}
            for each in {each.discordant: each for each in at}.values()
        ],
    }


def _accuracy_sentences(check: AccuracyCheck, row: Mapping[str, Any], alpha: float) -> Iterator[str]:
    low, high = row["unpaired"]["low"], row["unpaired"]["high"]
    covers = "includes 0" if low <= 0 <= high else "excludes 0"
    solved = " and ".join(str(each) for each in (check.first, check.second))
    yield (
        f"The figures stand for {solved} of {check.items} items, a difference of {_points(row['difference'])}. Taken "
        f"as if on different items, its {100 * row['unpaired']['level']:.4g} % interval is {100 * low:+.2f} to "
        f"{100 * high:+.2f} points, which {covers}."
    )
    if check.discordant is None:
        yield (
            "Paired on the same items, the p-value depends on how many items only one of the two solves: "
            f"{_number(row['p'][0])} if the worse one solves none that the better one does not, up to "
            f"{_number(row['p'][1])} if they differ on {check.possible.most}. Models that are right independently of "
            f"each other differ on about {check.independent}."
        )
    else:
        yield f"Paired on the same items, {check.possible} of which only one of the two solves (McNemar's exact test)."
    if row["verdict"] == "significant":
        yield f"The difference is significant whatever the figures leave open ({_p(row)})."
    elif row["verdict"] == "not significant":
        yield f"The difference is not significant, whatever the figures leave open ({_p(row)})."
    else:
        most = check.most_for(alpha / row["tests"])
        after = f" after correction for {row['tests']} tests" if row["tests"] > 1 else ""
        yield (
            "Whether it is significant cannot be known from these figures: "
            + (
                "it depends on digits that were rounded away."
                if most is None
                else f"it is{after} if they differ on at most {most} items ({100 * most / check.items:.1f} %)."
            )
        )
    shown = [
        f"{100 * each['detectable']:.2f} points at {100 * each['discordant'] / check.items:.3g} %"
        for each in row["at"]
        if each["detectable"] is not None
    ]
    if shown:
        yield (
            "Difference that such a comparison finds with 80 % power, by share of items on which the two differ: "
            f"{', '.join(shown)}."
        )


def _p(row: Mapping[str, Any]) -> str:
    corrected = f", {_numbers(row['adjusted_p'])} corrected for {row['tests']} tests" if row["tests"] > 1 else ""
    return f"exact p {_numbers(row['p'])}{corrected}"


def _numbers(span: Sequence[float]) -> str:
    low, high = map(_number, span)
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 0.001 else f"{value:.3f}"


def _span(span: Sequence[float], digits: int) -> str:
    low, high = (f"{value:.{digits}f}" for value in span)
    return low if low == high else f"{low} to {high}"


def _points(span: Sequence[float]) -> str:
    low, high = (f"{100 * value:+.2f}" for value in span)
    return f"{low} points" if low == high else f"{low} to {high} points"
