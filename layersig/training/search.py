"""Trials of learning rates and lengths; the best on a validation split is the training.

The split is taken from the training conversations by whole groups, from the recipe's root seed: no trial trains on it,
and what arms are evaluated on is never looked at. Every arm and every seed gets the same trials and the same split, so
arms stay comparable. Nothing is trained again on all conversations afterwards, which would be another training than the
one that was compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import FiniteFloat
from typing_extensions import TypedDict

from layersig.data.pairs import Items
from layersig.data.split import validation_indices
from layersig.errors import Diverged, StageFailed
from layersig.jsonform import Number, dumps, parse_json
from layersig.recipe.schema import TrainSettings
from layersig.stages.job import Job
from layersig.stages.kinds import Training
from layersig.store.files import write_atomic
from layersig.training.log import Step, StepForm, TrainLog

_DONE = "trial.json"


class Fit(NamedTuple):
    """A training that ended.

    Attributes:
        folder: Holds what it kept.
        log: Its steps.
        planned: Number of steps of its whole schedule.
        loss: Loss on the validation split; None without one.
        memory: Bytes that it held besides activations, by purpose, and where it was continued from.
        turns: Blocks in turn by interval, where they took turns.
        looks: The looks at the ranking, where it may end the training.
    """

    folder: Path
    log: TrainLog
    planned: int
    loss: float | None
    memory: Mapping[str, float]
    turns: Sequence[Sequence[int]] | None
    looks: Mapping[str, Any] | None = None


class _Trial(NamedTuple):
    settings: TrainSettings
    fit: Fit | None
    error: str | None


def search(
    job: Job[Training],
    settings: TrainSettings,
    examples: Items,
    fit: Callable[[TrainSettings, Items, Items, Path], Fit],
) -> Fit:
    """Run every trial, write `search.json`, count the cost of all of them, and give the best.

    A trial that diverges loses. One that an interruption left done is not run again.

    Args:
        job: The stage.
        settings: With a `search`.
        examples: The training split of the data set.
        fit: Trains with given settings on given examples, measures the loss on others, and keeps all in a folder.

    Raises:
        UserError: The validation split would leave nothing to train on.
        StageFailed: Every trial diverged, or one did something else than it was asked for.
    """
    assert settings.search is not None
    kept = validation_indices(examples.groups, settings.search.validation, job.streams.root)
    parts = [examples.part([index for index in range(len(examples)) if (index in kept) == wanted]) for wanted in (0, 1)]
    trials = []
    for number, each in enumerate(_settings(settings)):
        job.reporter.start(f"trial {number + 1}", 1, "training")
        trials.append(_run(each, job.work / f"trial-{number}", lambda s, work: fit(s, parts[0], parts[1], work)))
        job.reporter.advance(1)
    done = [trial for trial in trials if trial.fit is not None]
    if not done:
        raise StageFailed(f"every trial of the search diverged; the last: {trials[-1].error}")
    best = min(done, key=lambda trial: _loss(trial.fit))
    targets = int(parts[1].target_counts.sum())
    job.write(
        "search.json",
        {
            "validation": {"conversations": len(parts[1]), "targets": targets, "trained_on": len(parts[0])},
            "trials": [_row(trial, trial is best) for trial in trials],
        },
    )
    fits = [trial.fit for trial in done if trial.fit is not None]
    tokens, seconds = sum(each.log.tokens for each in fits), sum(each.log.seconds for each in fits)
    validated = len(fits) * int(parts[1].lengths.sum())
    job.cost.update(
        trials=len(trials),
        tokens=tokens + validated,
        peak_memory=max(each.log.peak_memory for each in fits),
        seconds_per_token=seconds / tokens,
    )
    assert best.fit is not None
    return best.fit


def _settings(settings: TrainSettings) -> list[TrainSettings]:
    assert settings.search is not None
    rates = settings.search.learning_rates or (settings.learning_rate,)
    lengths: Sequence[dict[str, Any]] = [{"epochs": each, "steps": None} for each in settings.search.epochs] or [{}]
    return [settings.model_copy(update={"learning_rate": rate, **length}) for rate, length in product(rates, lengths)]


def _run(settings: TrainSettings, folder: Path, fit: Callable[[TrainSettings, Path], Fit]) -> _Trial:
    if (before := _read(settings, folder)) is not None:
        return before
    folder.mkdir(exist_ok=True)
    try:
        done = fit(settings, folder)
        if done.loss is not None and not isfinite(done.loss):
            raise Diverged(f"the validation loss is {done.loss}")
        trial = _Trial(settings, done, None)
    except Diverged as failure:
        trial = _Trial(settings, None, str(failure))
    value: dict[str, Any] = {"error": trial.error}
    if trial.fit is not None:
        log = trial.fit.log
        value |= {"loss": trial.fit.loss, "memory": dict(trial.fit.memory), "turns": trial.fit.turns}
        value["planned"] = trial.fit.planned
        value["log"] = [[step.to_json() for step in log.steps], log.peak_memory, log.numerics]
    write_atomic(folder / _DONE, dumps(value))
    return trial


class _FailedForm(TypedDict):
    """A trial that failed."""

    error: str


class _DoneForm(TypedDict):
    """A trial that was done."""

    error: None
    loss: FiniteFloat | None
    memory: dict[str, Number]
    turns: list[list[int]] | None
    planned: int
    log: tuple[list[StepForm], int, str]


def _read(settings: TrainSettings, folder: Path) -> _Trial | None:
    """The trial as an interrupted search left it; None where it left none that can be read, so that it is run."""
    try:
        value = parse_json((folder / _DONE).read_bytes(), _FailedForm | _DoneForm)  # type: ignore[arg-type]
    except (OSError, ValueError):
        return None
    if value["error"] is not None:
        return _Trial(settings, None, value["error"])
    steps, peak, numerics = value["log"]
    log = TrainLog(tuple(Step(**row) for row in steps), peak, numerics)
    return _Trial(settings, Fit(folder, log, value["planned"], value["loss"], value["memory"], value["turns"]), None)


def _loss(fit: Fit | None) -> float:
    assert fit is not None
    assert fit.loss is not None
    return fit.loss


def _row(trial: _Trial, chosen: bool) -> dict[str, Any]:
    settings = trial.settings
    return {
        "learning_rate": settings.learning_rate,
        "epochs": (settings.epochs or 1.0) if settings.steps is None else None,
        "steps": len(trial.fit.log.steps) if trial.fit is not None else None,
        "loss": trial.fit.loss if trial.fit is not None else None,
        "chosen": chosen,
        "error": trial.error,
    }
