"""Scores tasks with lm-eval and keeps what every item gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lm_eval
from lm_eval.api.group import Group as LmEvalGroup
from lm_eval.api.model import LM
from lm_eval.config.group import AggMetricConfig

from layersig.errors import MachineError, StageFailed, UserError
from layersig.evaluating.clusters import clusters_of
from layersig.evaluating.incidents import IncidentLog
from layersig.evaluating.loading import Pool, ResolvedTask
from layersig.evaluating.local import LocalTask
from layersig.evaluating.measures import Measures, Samples
from layersig.evaluating.responses import response_lines
from layersig.evaluating.summary import summarised
from layersig.evaluating.supported import floorless
from layersig.incidents import Incidents
from layersig.records import CorpusValue, Outcome
from layersig.sandbox import refusal


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
    summary = summarised(task, outcomes, whole, evaluated["results"])
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
