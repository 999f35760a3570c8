"""Checks of `[judge]`, `evaluate.conversations` and `evaluate.answers`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from layersig.recipe.checks.data import draw_checks, split_checks
from layersig.recipe.checks.tasks import task_sources
from layersig.recipe.checks.values import list_at, one_or_more, table_at
from layersig.recipe.faults import Fault
from layersig.recipe.schema import NAME_PATTERN, AnswerSettings, ConversationSettings


def question_sets(data: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of `evaluate.conversations` with their numbers, without those that are neither string nor table."""
    for number, entry in enumerate(list_at(table_at(data, "evaluate"), "conversations")):
        if isinstance(entry, str | dict):
            yield number, {"source": entry} if isinstance(entry, str) else entry


def set_names(data: Mapping[str, Any]) -> list[str]:
    """The names of the sets of questions in results."""
    found = []
    for _, entry in question_sets(data):
        with suppress(ValidationError):
            found.append(ConversationSettings.model_validate(entry, strict=False).label)
    return found


def judge_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of sets of questions, which need a judge, arms and unique names, and of how they are answered."""
    evaluate, sets = table_at(data, "evaluate"), list(question_sets(data))
    yield from draw_checks(("evaluate", "answers"), evaluate.get("answers"), AnswerSettings)
    if sets and data.get("judge") is None:
        yield Fault(("evaluate", "conversations"), "`evaluate.conversations` needs a judge; add a table [judge]")
    if sets and not data.get("arms") and evaluate.get("all_layers") is False:
        reason = "no arm answers the questions beside the untouched model; add an [[arms]], or measure all layers"
        yield Fault(("evaluate", "conversations"), reason)
    if not sets and isinstance(data.get("judge"), dict):
        yield Fault(("judge",), "there is nothing to judge; list sets of questions in `evaluate.conversations`")
    judge = table_at(data, "judge")
    if judge.get("endpoint") is not None and judge.get("model") is None:
        yield Fault(
            ("judge", "model"),
            "missing; give the id of the judge, pinned to a dated version where the endpoint has one",
        )
    outcomes, labels = one_or_more(table_at(data, "analyze").get("outcome")), _labels(sets)
    graded = [name for name in outcomes if isinstance(name, str) and name in labels]
    if judge and judge.get("endpoint") is None and graded:
        yield Fault(
            ("judge", "endpoint"),
            f'missing, and the declared outcome "{graded[0]}" comes from the judge; give the endpoint',
        )
    tasks = task_sources(evaluate)
    seen = {"heldout", *(source.rpartition(":")[2].casefold() for _, source in tasks)}
    for number, entry in sets:
        yield from split_checks(("evaluate", "conversations", number), entry)
        label = _label(entry)
        if label is None:
            continue
        if label.casefold() in seen:
            yield Fault(("evaluate", "conversations", number), f'"{label}" is taken already; give it another `name`')
        elif not re.fullmatch(NAME_PATTERN, label):
            yield Fault(("evaluate", "conversations", number), f'"{label}" cannot name a set; give it a `name`')
        seen.add(label.casefold())


def _labels(sets: list[tuple[int, dict[str, Any]]]) -> set[str]:
    return {label for _, entry in sets if (label := _label(entry)) is not None}


def _label(entry: dict[str, Any]) -> str | None:
    """The name of a set; None where its entry is invalid, which the schema reports."""
    try:
        return ConversationSettings.model_validate(entry, strict=False).label
    except ValidationError:
        return None
