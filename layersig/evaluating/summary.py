"""What is recorded of a task besides its items: how it was shown, its means, and floors that need no model."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from layersig.evaluating.corpus import is_number
from layersig.evaluating.loading import Pool, ResolvedTask
from layersig.evaluating.local import FEWSHOT_SEED, LocalTask
from layersig.evaluating.metrics import rouge_l
from layersig.probes.arithmetic import constant_floor
from layersig.records import CorpusValue, Outcome

_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_FORMATS = {"multiple_choice": "classification", "generate_until": "generation"}
"""How a task is answered, by lm-eval's type of output; other types keep its name."""


def summarised(
    task: ResolvedTask,
    outcomes: Sequence[Outcome],
    corpus: Sequence[CorpusValue],
    theirs: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """What is recorded of every task that results hold.

    Args:
        task: The task.
        outcomes: Those of its items.
        corpus: Metrics that are no means of items.
        theirs: lm-eval's results by task and group.
    """
    found: dict[str, dict[str, Any]] = {}
    for label, parts in _labels(task, outcomes, corpus).items():
        own = [outcome for outcome in outcomes if outcome.task == label]
        whole = [value for value in corpus if value.task == label]
        pool = next((pool for pool in task.pools if pool.name == label), None)
        found[label] = {
            **_shown(task, parts),
            "higher_is_better": _directions(parts, [*(each.metric for each in own), *(each.metric for each in whole)]),
            **({} if pool is None else _strata(pool, theirs)),
            "lm_eval": _numbers(theirs[label if pool is not None else str(parts[0].config.task)]),
            **means(own),
            **{value.metric: value.value for value in whole},
            "n": sum(len(part.chosen or ()) for part in parts),
            **_constant(parts),
            **_lead(parts),
            "prompts": hashlib.sha256("".join(part.prompts() for part in parts).encode()).hexdigest(),
            "prompt": parts[0].example(),
        }
    return found


def _labels(
    task: ResolvedTask, outcomes: Sequence[Outcome], corpus: Sequence[CorpusValue]
) -> dict[str, tuple[LocalTask, ...]]:
    """The parts behind every task that results hold; groups of several data sets last."""
    measured = {outcome.task for outcome in outcomes} | {value.task for value in corpus}
    found: dict[str, tuple[LocalTask, ...]] = {}
    for part in task.parts:
        pool = task.subject_of(part)
        if pool is not None:
            found.setdefault(pool.name, pool.parts)
        if pool is None or task.own_label(part) in measured:
            found.setdefault(task.own_label(part), (part,))
    return found | {pool.name: pool.parts for pool in task.pools if not pool.subjects}


def _strata(pool: Pool, theirs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the parts of a group weigh, and what each of them scores."""
    return {
        "weights": {each.metric: "items" if each.by_size else "tasks" for each in pool.group.aggregates},
        "strata": {
            name: {
                **{key.removesuffix(",none"): value for key, value in _numbers(theirs[name]).items()},
                "n": len(part.chosen or ()),
            }
            for name, part in ((str(part.config.task), part) for part in pool.parts)
        },
    }


def _numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's own figures of a task or group."""
    found = {key: float(results[key]) for key in sorted(results) if "," in key and is_number(results[key])}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def means(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """The weighted mean of each metric, in order of first appearance."""
    sums: dict[str, tuple[list[float], list[float]]] = {}
    for outcome in outcomes:
        values, weights = sums.setdefault(outcome.metric, ([], []))
        values.append(outcome.value * outcome.weight)
        weights.append(outcome.weight)
    return {metric: math.fsum(values) / math.fsum(weights) for metric, (values, weights) in sums.items()}


def _constant(parts: Sequence[LocalTask]) -> dict[str, float]:
    """What the best constant answer would score, where the likeliest choice is to be right: a floor without a model.

    Constant is the same text ("yes") or the same place ("the second"), whichever scores more: the texts of most tasks
    never recur, their places do. Where one place is right in all rows, that is how rows are stored (TruthfulQA, BLiMP),
    and no model sees it: there a place is worth what it is in a random order.
    """
    texts: list[set[str]] = []
    places: Counter[int] = Counter()
    unordered: list[float] = []
    for part in parts:
        if part.OUTPUT_TYPE != "multiple_choice" or part.multiple_input or part.config.process_results is not None:
            continue
        rows = [(part.doc_to_choice(row), part.doc_to_target(row)) for row in part.eval_docs]
        right = [right_places(choices, target) for choices, target in rows]
        texts += ({str(choices[at]).strip() for at in own} for (choices, _), own in zip(rows, right, strict=True))
        if right and set.intersection(*right):
            unordered += (len(own) / len(choices) for (choices, _), own in zip(rows, right, strict=True))
        else:
            places.update(at for own in right for at in own)
    by_place = max(places.values(), default=0) + math.fsum(unordered)
    return {"constant": max(by_place / len(texts), constant_floor(texts))} if texts else {}


def right_places(choices: Sequence[Any], target: object) -> set[int]:
    """Places of the right choices, from a target as lm-eval takes them: a place, a text, or several of them."""
    targets = target if isinstance(target, list) else [target]
    found = (choices.index(each) if isinstance(each, str) and each in choices else each for each in targets)
    return {place for place in found if isinstance(place, int) and 0 <= place < len(choices)}


def _lead(parts: Sequence[LocalTask]) -> dict[str, float]:
    """What an article's first sentence scores as its summary: another floor that needs no model."""
    scores = [
        rouge_l([str(part.doc_to_target(row))], [_SENTENCE_END.split(row["document"], maxsplit=1)[0]])
        for part in parts
        if part.OUTPUT_TYPE == "generate_until" and "document" in part.features
        for row in part.eval_docs
        if "rouge_l" in part._metric_fn_list
    ]
    return {"lead": math.fsum(scores) / len(scores)} if scores else {}


def _shown(task: ResolvedTask, parts: Sequence[LocalTask]) -> dict[str, Any]:
    first = parts[0]
    return {
        "format": _FORMATS.get(first.OUTPUT_TYPE, first.OUTPUT_TYPE),
        **({"chat": True} if task.chat else {}),
        "shots": first.config.num_fewshot,
        "fewshot_seed": FEWSHOT_SEED,
        **_shots(parts),
        "split": first.scored_split,
        "rows": task.rows if len(parts) == len(task.parts) else sum(len(part.scored_rows) for part in parts),
    }


def _shots(parts: Sequence[LocalTask]) -> dict[str, Any]:
    """Where few-shot examples come from, and how many were replaced because they were the item itself."""
    asked = [part for part in parts if part.config.num_fewshot]
    if not asked:
        return {}
    replaced = [part.replaced for part in asked]
    return {
        "shots_from": ", ".join(dict.fromkeys(part.shots_from for part in asked)),
        "shots_replaced": {
            "examples": sum(sum(each.values()) for each in replaced),
            "items": sum(len(each) for each in replaced),
        },
    }


def _directions(parts: Sequence[LocalTask], metrics: Iterable[str]) -> dict[str, bool]:
    """Whether higher is better, of every metric that the task's definition or else lm-eval's registry says it of."""
    known = {name: higher for part in parts for name, higher in part.higher_is_better().items()}
    said = {metric: known.get(metric.partition(",")[0]) for metric in metrics}
    return {metric: bool(higher) for metric, higher in said.items() if higher is not None}
