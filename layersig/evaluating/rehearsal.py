"""Scores made-up answers before anything is trained: a definition that cannot score its rows is refused by name."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance

from layersig.errors import UserError
from layersig.evaluating.corpus import is_mean, is_number, over_all_items
from layersig.evaluating.local import LocalTask

_ROWS = 20
"""Rows that a rehearsal scores, spread over all that are chosen."""
_UNLUCKY = (ArithmeticError, statistics.StatisticsError)
"""What an aggregation may raise because a few rows lack a class that all rows have."""


def rehearse(part: LocalTask) -> None:
    """Score a few rows with made-up answers, through filters, metrics and aggregations; runs no programs.

    Raises:
        UserError: A prompt cannot be built, an answer cannot be scored, a metric gives no number, or there is none.
    """
    if part.runs_code:
        return
    unknown = [name for name, function in part._metric_fn_list.items() if function is None]
    if unknown and part.OUTPUT_TYPE == "generate_until" and part.config.process_results is None:
        raise UserError(
            f"task {part.config.task}: {', '.join(unknown)} cannot be loaded; with `hf_evaluate`, or where lm-eval has "
            "no such metric, the package `evaluate` asks the hub for it, which failed here"
        )
    every = part.chosen or []
    part.chosen = every[:: max(1, len(every) // _ROWS)][:_ROWS]
    try:
        part.build_all_requests()
        for instance in part.instances:
            instance.resps = [_answer(part, instance)]
        part.apply_filters()
        found = _metrics(part)
    finally:
        part.chosen = every
    if not found:
        raise UserError(f"task {part.config.task}: has no metric that gives a number, so nothing could be reported")
    for metric, values in found.items():
        _check(part, metric, values)


def _metrics(part: LocalTask) -> dict[str, list[Any]]:
    by_row: dict[int, list[Instance]] = {}
    for instance in part.instances:
        by_row.setdefault(int(instance.doc_id), []).append(instance)
    found: dict[str, list[Any]] = {}
    for instances in by_row.values():
        instances.sort(key=lambda instance: instance.idx)
        for filter_name in instances[0].filtered_resps:
            answers = [instance.filtered_resps[filter_name] for instance in instances]
            for metric, value in part.process_results(instances[0].doc, answers).items():
                found.setdefault(metric, []).append(value)
    return {metric: values for metric, values in found.items() if metric != "bypass"}


def _check(part: LocalTask, metric: str, values: Sequence[Any]) -> None:
    aggregation = part.aggregation_of(metric)
    if is_mean(aggregation):
        if (odd := next((value for value in values if not is_number(value)), None)) is not None:
            raise UserError(
                f"task {part.config.task}: {metric} gives {odd!r} for an item, and its aggregation is a mean; "
                "write an aggregation that takes such values, or a metric that gives a number"
            )
        return
    try:
        number = over_all_items(aggregation, list(values))
    except _UNLUCKY:
        return
    except Exception as error:  # an aggregation of the definition may fail with anything
        raise UserError(
            f"task {part.config.task}: {metric} cannot be computed over its items ({type(error).__name__}: {error})"
        ) from error
    if not is_number(number):
        raise UserError(f"task {part.config.task}: {metric} is {number!r} over all items, which is not a number")


def _answer(part: LocalTask, instance: Instance) -> Any:
    """An answer of the right kind; choices differ in their likelihood, and written answers are the target's text."""
    if instance.request_type == "loglikelihood":
        return -1.0 - (3 * int(instance.doc_id) + 2 * int(instance.idx)) % 5, instance.idx == 0
    if instance.request_type == "loglikelihood_rolling":
        return -10.0
    target = part.doc_to_target(instance.doc)
    return str(target[0] if isinstance(target, list) and target else target)
