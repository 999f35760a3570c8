"""Scores tasks with lm-eval and keeps what every item gave."""

from __future__ import annotations

import hashlib
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import lm_eval
from lm_eval.api.model import LM

from layersig.errors import MachineError, StageFailed, UserError
from layersig.evaluating.loading import ResolvedTask
from layersig.evaluating.local import FEWSHOT_SEED, LocalTask
from layersig.evaluating.metrics import rouge_l
from layersig.evaluating.responses import response_lines
from layersig.probes.arithmetic import constant_floor
from layersig.records import Outcome
from layersig.sandbox import refusal

_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_FORMATS = {"multiple_choice": "classification", "generate_until": "generation"}
"""How a task is answered, by lm-eval's type of output; other types keep its name."""
_CLUSTER_FIELDS = ("source_id", "fact1", "passage")
"""Fields whose equal values tie items together: HellaSwag's source, OpenBookQA's fact, BoolQ's passage."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a task gave.

    Attributes:
        outcomes: Every item's, in order of parts, rows and metrics.
        summary: By task: means over items, `n`, the strata of a pooled task, and how it was shown.
        responses: What the model wrote and what probes see in it, see `response_lines`.
        samples: What lm-eval logged, by name of the part.
    """

    outcomes: tuple[Outcome, ...]
    summary: Mapping[str, Mapping[str, Any]]
    responses: tuple[Mapping[str, Any], ...]
    samples: Mapping[str, Sequence[Mapping[str, Any]]] = field(compare=False, repr=False)


def score_task(task: ResolvedTask, model: LM, *, allow_code: bool = False) -> Scored:
    """Run one task through lm-eval.

    Means are taken over items here: lm-eval's group aggregation weighs standard errors by a formula that does not fit
    unweighted means, and drops the items.

    Args:
        task: The task.
        model: What is measured.
        allow_code: Let the task run what the model writes.

    Raises:
        StageFailed: A metric came out NaN or infinite.
        UserError: The task would run what the model writes, and may not.
        MachineError: It may, and this machine cannot confine it.
    """
    if any(part.runs_code for part in task.parts):
        _check_code(task, allow_code)
    evaluated = lm_eval.evaluate(
        lm=model,
        task_dict={"tasks": {str(part.config.task): part for part in task.parts}},
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=task.chat,
    )
    outcomes: list[Outcome] = []
    responses: list[Mapping[str, Any]] = []
    summary: dict[str, dict[str, Any]] = {}
    for part in task.parts:
        name = str(part.config.task)
        found = list(_outcomes(task, part, evaluated["samples"][name]))
        for outcome in found:
            if not math.isfinite(outcome.value):
                raise StageFailed(f"{outcome.task}: item {outcome.item} gives {outcome.metric} = {outcome.value}")
        outcomes += found
        responses += response_lines(task, part, evaluated["samples"][name])
        theirs = {key: value for key, value in evaluated["results"][name].items() if _is_number(value)}
        entry = summary.setdefault(task.label(part), _shown(task, part))
        entry["higher_is_better"] |= _directions(part, found)
        if task.pooled:
            entry["strata"][name] = {**means(found), "n": len(part.chosen or ())}
        else:
            entry["lm_eval"] = dict(sorted(theirs.items()))
    for label, entry in summary.items():
        own = [outcome for outcome in outcomes if outcome.task == label]
        parts = [part for part in task.parts if task.label(part) == label]
        entry |= means(own)
        entry["n"] = sum(len(part.chosen or ()) for part in parts)
        entry |= _constant(parts) | _lead(parts)
        entry["prompts"] = hashlib.sha256("".join(part.prompts() for part in parts).encode()).hexdigest()
    return Scored(tuple(outcomes), summary, tuple(responses), evaluated["samples"])


def _check_code(task: ResolvedTask, allowed: bool) -> None:
    """Nothing that a model wrote is run unasked, nor where it cannot be confined."""
    if not allowed:
        raise UserError(
            f"the task {task.name} runs programs that the model writes; allow it with "
            "`allow_code_execution = true` in [evaluate], or leave the task out"
        )
    if (reason := refusal()) is not None:
        raise MachineError(f"the task {task.name} cannot be scored here: {reason}")


def floor_outcomes(task: ResolvedTask, model: LM, scored: Scored) -> tuple[Outcome, ...]:
    """What answers are worth without their question, item by item: the floor of retention.

    A task of choices is asked again, every item with the question of the next one. Where the model writes, what it
    wrote to the next item is scored against an item's target; programs are not run again. Other tasks have no floor.
    """
    parts = [part for part in task.parts if len(part.chosen or ()) > 1]
    choices = [part for part in parts if part.OUTPUT_TYPE == "multiple_choice"]
    found: list[Outcome] = []
    for part in choices:
        part.shuffled = True
    try:
        if choices:
            found += score_task(replace(task, parts=tuple(choices)), model).outcomes
    finally:
        for part in choices:
            part.shuffled = False
    for part in parts:
        if part.OUTPUT_TYPE == "generate_until" and not part.runs_code:
            found += _exchanged(task, part, scored.samples[str(part.config.task)])
    return tuple(found)


def _exchanged(task: ResolvedTask, part: LocalTask, samples: Sequence[Mapping[str, Any]]) -> Iterable[Outcome]:
    by_filter: dict[str, list[Mapping[str, Any]]] = {}
    for sample in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        by_filter.setdefault(sample["filter"], []).append(sample)
    for own in by_filter.values():
        exchanged = []
        for sample, other in zip(own, [*own[1:], own[0]], strict=True):
            values = part.process_results(sample["doc"], list(other["filtered_resps"]))
            exchanged.append({**sample, **values, "metrics": list(values)})
        yield from _outcomes(task, part, exchanged)


def means(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """The weighted mean of each metric, in order of first appearance."""
    sums: dict[str, tuple[list[float], list[float]]] = {}
    for outcome in outcomes:
        values, weights = sums.setdefault(outcome.metric, ([], []))
        values.append(outcome.value * outcome.weight)
        weights.append(outcome.weight)
    return {metric: math.fsum(values) / math.fsum(weights) for metric, (values, weights) in sums.items()}


def _constant(parts: Sequence[LocalTask]) -> dict[str, float]:
    """What the best constant answer would score, where items have a right answer: a floor that needs no model.

    Constant is the same text ("yes") or the same place ("the second"), whichever scores more: the texts of most tasks
    never recur, their places do.
    """
    places: list[set[int]] = []
    texts: list[set[str]] = []
    for part in parts:
        if part.OUTPUT_TYPE == "multiple_choice" and not part.multiple_input:
            for row in part.eval_docs:
                choices = part.doc_to_choice(row)
                right = _right_places(choices, part.doc_to_target(row))
                places.append(right)
                texts.append({str(choices[place]).strip() for place in right})
    return {"constant": max(constant_floor(places), constant_floor(texts))} if places else {}


def _right_places(choices: Sequence[Any], target: object) -> set[int]:
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


def _shown(task: ResolvedTask, part: LocalTask) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "format": _FORMATS.get(part.OUTPUT_TYPE, part.OUTPUT_TYPE),
        **({"chat": True} if task.chat else {}),
        "shots": part.config.num_fewshot,
        "fewshot_seed": FEWSHOT_SEED,
        "split": part.scored_split,
        "rows": task.rows if task.pooled else len(part.scored_rows),
        "higher_is_better": {},
    }
    return {**shown, "strata": {}} if task.pooled else shown


def _directions(part: LocalTask, found: Iterable[Outcome]) -> dict[str, bool]:
    """Whether higher is better, of every metric that the task's definition or else lm-eval's registry says it of."""
    known = part.higher_is_better()
    said = {outcome.metric: known.get(outcome.metric.partition(",")[0]) for outcome in found}
    return {metric: bool(higher) for metric, higher in said.items() if higher is not None}


def _outcomes(task: ResolvedTask, part: LocalTask, samples: Sequence[Mapping[str, Any]]) -> Iterable[Outcome]:
    label, items = task.label(part), task.items(part)
    clusters = [str(part.config.task)] * len(items) if task.pooled else _clusters(part)
    for sample in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        number = sample["doc_id"]
        suffix = "" if sample["filter"] == "none" else f",{sample['filter']}"
        for metric in sample["metrics"]:
            value, weight = sample[metric], 1.0
            if metric == "byte_perplexity":
                log_likelihood, weight = value
                value, metric = -log_likelihood / weight, "loss"
            elif metric == "perplexity" and part.OUTPUT_TYPE == "loglikelihood":
                value, metric = -value, "loss"
            if _is_number(value):
                yield Outcome(label, items[number], metric + suffix, float(value), float(weight), clusters[number])


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, complex)


def _clusters(part: LocalTask) -> list[str | None]:
    if {"option1", "option2", "sentence"} <= set(part.features):
        return _twins(part)
    field = next((field for field in _CLUSTER_FIELDS if field in part.features), None)
    if field is None:
        return [None] * len(part.chosen or ())
    return [hashlib.sha256(str(row[field]).encode()).hexdigest()[:12] for row in part.eval_docs]


def _twins(part: LocalTask) -> list[str | None]:
    """WinoGrande's pairs: the twin sentences stand one after the other and offer the same two options."""
    pairs: list[int] = []
    alone: set[str] = set()
    for row in part.scored_rows:
        options = {row["option1"].lower(), row["option2"].lower()}
        twin = options == alone
        pairs.append(pairs[-1] if twin else len(pairs))
        alone = set() if twin else options
    return [f"pair-{pairs[index]}" for index in part.chosen or ()]
