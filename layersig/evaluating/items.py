"""Scores tasks with lm-eval and keeps what every item gave."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lm_eval
from lm_eval.api.group import Group as LmEvalGroup
from lm_eval.api.model import LM
from lm_eval.config.group import AggMetricConfig

from layersig.errors import MachineError, StageFailed, UserError
from layersig.evaluating.clusters import clusters_of
from layersig.evaluating.corpus import is_number
from layersig.evaluating.incidents import IncidentLog
from layersig.evaluating.loading import Pool, ResolvedTask
from layersig.evaluating.local import FEWSHOT_SEED, LocalTask
from layersig.evaluating.measures import Measures, Samples
from layersig.evaluating.metrics import rouge_l
from layersig.evaluating.responses import response_lines
from layersig.evaluating.supported import floorless
from layersig.incidents import Incidents
from layersig.probes.arithmetic import constant_floor
from layersig.records import CorpusValue, Outcome
from layersig.sandbox import refusal

_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_FORMATS = {"multiple_choice": "classification", "generate_until": "generation"}
"""How a task is answered, by lm-eval's type of output; other types keep its name."""


@dataclass(frozen=True, slots=True)
class TaskScores:
    """What a task gave.

    Attributes:
        outcomes: Every item's, in order of parts, rows and metrics.
        corpus: Metrics that are no means of items.
        summary: By task: the value of every metric, `n`, the strata of a group, and how it was shown.
        responses: What the model wrote and what probes see in it, see `response_lines`.
        samples: What lm-eval logged, by name of the part.
        endings: How each response ended, in the order of `responses`; empty objects for models that do not say it.
        incidents: By task, what its items met with.
    """

    outcomes: tuple[Outcome, ...]
    corpus: tuple[CorpusValue, ...]
    summary: Mapping[str, Mapping[str, Any]]
    responses: tuple[Mapping[str, Any], ...]
    samples: Samples = field(compare=False, repr=False)
    endings: tuple[Mapping[str, Any], ...] = field(compare=False, repr=False)
    incidents: Mapping[str, Incidents] = field(compare=False)


def score_task(task: ResolvedTask, model: LM, *, allow_code: bool = False, corpus: bool = True) -> TaskScores:
    """Run one task through lm-eval.

    Args:
        task: The task.
        model: What is measured.
        allow_code: Let the task run what the model writes.
        corpus: Also compute metrics that are no means of items, on resamples of the items too.

    Raises:
        StageFailed: An item's metric came out NaN or infinite.
        UserError: The task would run what the model writes, and may not; or a metric cannot be computed.
        MachineError: It may, and this machine cannot confine it.
    """
    if any(part.runs_code for part in task.parts):
        _check_code(task, allow_code)
    log: IncidentLog = getattr(model, "incidents", IncidentLog())
    log.clear()
    evaluated = lm_eval.evaluate(
        lm=model,
        task_dict={
            "tasks": {str(part.config.task): part for part in task.parts},
            "groups": {pool.name: _lm_eval_group(pool) for pool in task.pools},
        },
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=task.chat,
    )
    samples = evaluated["samples"]
    measures = Measures(task, samples)
    outcomes, whole = tuple(measures.outcomes()), tuple(measures.corpus()) if corpus else ()
    for outcome in outcomes:
        if not math.isfinite(outcome.value):
            raise StageFailed(f"{outcome.task}: item {outcome.item} gives {outcome.metric} = {outcome.value}")
    responses: list[Mapping[str, Any]] = []
    endings: list[Mapping[str, Any]] = []
    incidents: dict[str, Incidents] = {}
    for part in task.parts:
        own = samples[str(part.config.task)]
        responses += response_lines(task, part, own)
        endings += log.endings(part, own)
        incidents[task.label(part)] = incidents.get(task.label(part), Incidents()) + log.incidents(part, own)
    summary = _summary(task, outcomes, whole, evaluated["results"])
    return TaskScores(outcomes, whole, summary, tuple(responses), samples, tuple(endings), incidents)


def _lm_eval_group(pool: Pool) -> LmEvalGroup:
    aggregates = [
        AggMetricConfig(each.metric, None if each.filters is None else list(each.filters), "mean", each.by_size)
        for each in pool.group.aggregates
    ]
    group = LmEvalGroup(pool.name, aggregate_metric_list=aggregates)
    for part in pool.parts:
        group.add(part)
    return group


def _summary(
    task: ResolvedTask,
    outcomes: Sequence[Outcome],
    corpus: Sequence[CorpusValue],
    theirs: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
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


def _check_code(task: ResolvedTask, allowed: bool) -> None:
    """Nothing that a model wrote is run unasked, nor where it cannot be confined."""
    if not allowed:
        raise UserError(
            f"the task {task.name} runs programs that the model writes; allow it with "
            "`allow_code_execution = true` in [evaluate], or leave the task out"
        )
    if (reason := refusal()) is not None:
        raise MachineError(f"the task {task.name} cannot be scored here: {reason}")


def floor_outcomes(task: ResolvedTask, model: LM, scored: TaskScores) -> tuple[Outcome, ...]:
    """What answers are worth without their question, item by item: the floor of retention.

    Every item gets the question of the next one that is independent of it, since items of one cluster may ask the same.
    Answers whose likelihood counts are asked again; where the model writes, what it wrote to the other item is scored
    against an item's target. Tasks that `supported.floorless` names, and parts of a single item, have no floor.
    """
    parts = [part for part in task.parts if len(part.chosen or ()) > 1 and _has_floor(part)]
    asked = [part for part in parts if part.OUTPUT_TYPE != "generate_until"]
    found: list[Outcome] = []
    for part in asked:
        part.exchange = _others(part)
    try:
        if asked:
            found += score_task(task.with_parts(asked), model, corpus=False).outcomes
    finally:
        for part in asked:
            part.exchange = None
    for part in parts:
        if part.OUTPUT_TYPE == "generate_until":
            name = str(part.config.task)
            found += Measures(task.with_parts([part]), {name: _exchanged(part, scored.samples[name])}).outcomes()
    return tuple(found)


def _has_floor(part: LocalTask) -> bool:
    return floorless({"output_type": part.OUTPUT_TYPE, "metric_list": part.config.metric_list}) is None


def _others(part: LocalTask) -> list[int]:
    """For every chosen row the place of the next one of another cluster; the next one at all where there is none."""
    labels = clusters_of(part)
    count = len(labels)
    found = [(place + 1) % count for place in range(count)]
    if labels[0] is not None and len(set(labels)) == 1:
        return found
    for place in reversed(range(2 * count)):  # twice around, since the last rows look past the end
        own, behind = place % count, (place + 1) % count
        tied = labels[own] is not None and labels[own] == labels[behind]
        found[own] = found[behind] if tied else behind
    return found


def _exchanged(part: LocalTask, samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    by_filter: dict[str, list[Mapping[str, Any]]] = {}
    for sample in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        by_filter.setdefault(sample["filter"], []).append(sample)
    exchanged: list[Mapping[str, Any]] = []
    others = _others(part)
    for own in by_filter.values():
        for sample, other in zip(own, others, strict=True):
            values = part.process_results(sample["doc"], list(own[other]["filtered_resps"]))
            exchanged.append({**sample, **values, "metrics": list(values)})
    return exchanged


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
                right = right_places(choices, part.doc_to_target(row))
                places.append(right)
                texts.append({str(choices[place]).strip() for place in right})
    return {"constant": max(constant_floor(places), constant_floor(texts))} if places else {}


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
