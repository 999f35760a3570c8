"""Several drawn answers to every item of a task: the mean of every metric over them, and pass@k."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layersig.analysis.pass_at import pass_at
from layersig.evaluating import definitions
from layersig.evaluating.drawing import Drawing, Key
from layersig.evaluating.items import TaskScores, score_task
from layersig.evaluating.loading import ResolvedTask
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.summary import means
from layersig.generating.sampling import Sampling
from layersig.incidents import Incidents
from layersig.recipe.metrics import SHARES, at_k, kind_of
from layersig.recipe.schema import TaskSettings
from layersig.records import Outcome
from layersig.streams import Streams


def check_draws(settings: TaskSettings, path: Path) -> None:
    """Refuse draws for a task in which the model does not write, or that asks for several answers itself.

    Args:
        settings: An entry of `evaluate.tasks` with `draws`.
        path: What `resolve_task` found for it.

    Raises:
        UserError: As `definitions.check_written`.
    """
    if definitions.is_definition(path):
        configs = definitions.user(path, functions=False)
    else:
        configs = definitions.named(settings.source.removeprefix("pypi:"), functions=False)
    for config in configs:
        definitions.check_written(config)


def score_draws(
    task: ResolvedTask, model: SharedPrefixLM, settings: TaskSettings, streams: Streams, *, allow_code: bool
) -> TaskScores:
    """Score every draw of a task by itself, and put them together.

    An outcome is the mean over the draws of an item. Of metrics that say right or wrong, `METRIC@k` is the estimated
    chance that at least one of k draws is right, for every k of `pass_at` above 1. Metrics over all items at once are
    left out. A draw has a stream of its own, named by task, item and draw; arms of one seed share it.

    Args:
        task: The task; the model writes in it.
        model: What is measured.
        settings: With `draws` and `temperature`.
        streams: Those of the cell.
        allow_code: Let the task run what the model writes.

    Raises:
        StageFailed: As `score_task`.
        UserError: As `score_task`.
        MachineError: As `score_task`.
    """
    assert settings.draws is not None, "called for such tasks"
    assert settings.temperature is not None, "checked with the recipe"
    items = {str(part.config.task): part.item_ids() for part in task.parts}

    def seed(key: Key, draw: int) -> int:
        part, row, request = key
        return streams.number("draw", part, items[part][row], request, draw)

    drawing = Drawing(settings.draws, Sampling(settings.temperature, settings.top_p), seed)
    found = []
    with model.drawing(drawing):
        for draw in range(settings.draws):
            drawing.turn = draw
            found.append(score_task(task, model, allow_code=allow_code, corpus=False))
    return _together(found, settings)


def _together(found: Sequence[TaskScores], settings: TaskSettings) -> TaskScores:
    first = found[0]
    outcomes = tuple(_outcomes([scored.outcomes for scored in found], settings))
    summary = {}
    for label, entry in first.summary.items():
        own = means(outcome for outcome in outcomes if outcome.task == label)
        higher = entry["higher_is_better"]
        summary[label] = {
            **entry,
            "higher_is_better": {
                **higher,
                **{name: higher[single] for name, single in _singles(own) if single in higher},
            },
            "lm_eval": _means_of([scored.summary[label]["lm_eval"] for scored in found]),
            **own,
            "draws": settings.draws,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
        }
    return TaskScores(
        outcomes,
        (),
        summary,
        tuple({**line, "draw": draw} for draw, scored in enumerate(found) for line in scored.responses),
        first.samples,
        tuple(ending for scored in found for ending in scored.endings),
        {label: _average([scored.incidents[label] for scored in found]) for label in first.incidents},
    )


def _outcomes(draws: Sequence[Sequence[Outcome]], settings: TaskSettings) -> Iterator[Outcome]:
    counted = {outcome.metric: kind_of(outcome.metric) in SHARES for outcome in draws[0]}
    for drawn in zip(*draws, strict=True):
        counted[drawn[0].metric] &= all(outcome.value in (0, 1) for outcome in drawn)
    for drawn in zip(*draws, strict=True):
        first, values = drawn[0], [outcome.value for outcome in drawn]
        yield replace(first, value=math.fsum(values) / len(values))
        if counted[first.metric]:
            for k in settings.counted:
                chance = pass_at(len(values), round(sum(values)), k)
                yield replace(first, metric=at_k(first.metric, k), value=chance)


def _singles(metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Metrics of the form `METRIC@k` with the metric itself."""
    for name in metrics:
        base, mark, rest = name.partition("@")
        if mark:
            yield name, base + rest.lstrip("0123456789")


def _means_of(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: math.fsum(each[key] for each in found) / len(found) for key in found[0]}


def _average(found: Sequence[Incidents]) -> Incidents:
    """What a draw meets with on average, in whole items."""

    def mean(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return round(sum(known) / len(known)) if known else None

    columns: dict[str, Any] = {
        name: mean([getattr(each, name) for each in found]) for name in ("answers_cut", "answers_empty", "ties")
    }
    return Incidents(prompts_cut=found[0].prompts_cut, **columns)
