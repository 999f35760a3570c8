"""What a study costs on this machine: stage by stage and in total."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layersig.pipeline import Stage
from layersig.planning.disk import beside, stored
from layersig.planning.facts import Facts
from layersig.planning.memory import available, gib, peak
from layersig.planning.passes import Passes
from layersig.planning.rates import Speed
from layersig.planning.trainings import settings_of, trials
from layersig.planning.work import passes
from layersig.planning.writing import judge_calls
from layersig.store.cache import cache_root

TRAININGS = ("reference", "tune", "recover")
"""Kinds of stages that train."""
_START = 15.0
"""Seconds until the first stage where they were not measured: imports, sources, checks of the model (two cores)."""
_REPORT, _PER_EVALUATION = 5.0, 0.25
"""Seconds of analysis and report, and more for every evaluation (two cores)."""
_OTHER = 0.05
"""Seconds of a stage that runs no model."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stage costs; of a cached one, nothing.

    Attributes:
        stage: The stage.
        cached: Whether its output lies in the store.
        passes: What it asks of the model.
        seconds: Time; None where tokens or speed are not known.
        memory: Bytes at its peak; None where not known.
        disk: Bytes that it adds to the store; None where not known.
        calls: Verdicts that it asks the judge for; None where the questions are not known.
    """

    stage: Stage
    cached: bool
    passes: Passes
    seconds: float | None
    memory: float | None
    disk: float | None
    calls: int | None

    @property
    def trainings(self) -> int:
        """Trainings that it runs."""
        trains = self.stage.kind in TRAININGS and not self.cached
        return trials(settings_of(self.stage)) if trains else 0


@dataclass(frozen=True, slots=True)
class Totals:
    """What the stages that are left cost together.

    A sum or a maximum over the stages of which it is known, with the number of the others; None where it is known of
    none.

    Attributes:
        stages: Stages, cached ones included.
        cached: Stages that are cached.
        trainings: Trainings that are left.
        steps: Optimizer steps.
        tokens: Tokens through the model.
        seconds: Time, with start and report.
        memory: Largest peak.
        store: Bytes added to the store.
        run_folder: Bytes of the run folder that are no links into the store.
        calls: Verdicts that the judge is asked for.
        lacking: Stages whose tokens, time or verdicts are not known.
        unweighed: Stages whose bytes on disk are not known.
        at_most: Whether a part of it is an upper bound: texts may end earlier.
    """

    stages: int
    cached: int
    trainings: int
    steps: int
    tokens: float | None
    seconds: float | None
    memory: float | None
    store: float | None
    run_folder: float
    calls: int
    lacking: int
    unweighed: int
    at_most: bool


def cost_of(facts: Facts, stage: Stage, speed: Speed | None) -> Cost:
    """What a stage costs."""
    if stage.id in facts.known.cached:
        return Cost(stage, True, Passes(), 0.0, 0.0, 0.0, 0)
    asked = passes(facts, stage)
    return Cost(
        stage,
        False,
        asked,
        _seconds(facts, stage, asked, speed),
        peak(facts, stage),
        stored(facts, stage, asked),
        judge_calls(facts, stage),
    )


def _seconds(facts: Facts, stage: Stage, asked: Passes, speed: Speed | None) -> float | None:
    stated = facts.assumed.step_seconds
    if stated is not None and asked.steps:
        return asked.steps * stated
    if stage.kind in ("grade", "compare"):
        return None  # what an endpoint takes is not this machine's to say
    if asked.tokens == 0 and asked.unknown is None:
        return _OTHER
    if asked.tokens is None or speed is None:
        return None
    return speed.seconds(asked)


def totals(facts: Facts, costs: Sequence[Cost], speed: Speed | None, runs: Path) -> Totals:
    """What all stages cost together."""
    left = [each for each in costs if not each.cached]
    evaluations = sum(each.stage.kind == "evaluate" for each in costs)
    known = [each.seconds for each in left if each.seconds is not None]
    start = _START if speed is None or speed.start is None else speed.start
    around = start + _REPORT + _PER_EVALUATION * evaluations
    timed = any(each.seconds is not None for each in left if each.passes.tokens != 0) or not left
    peaks = [each.memory for each in left if each.memory]
    lacking = sum(
        each.calls is None or (each.seconds is None and each.stage.kind not in ("grade", "compare")) for each in left
    )
    sizes = [each.disk if not each.cached else 0.0 for each in costs]
    weighed = [each.disk for each in left if each.passes.tokens != 0]
    return Totals(
        stages=len(costs),
        cached=len(costs) - len(left),
        trainings=sum(each.trainings for each in left),
        steps=sum(each.passes.steps for each in left if each.stage.kind in TRAININGS),
        tokens=_sum([each.passes.tokens for each in left if each.passes.tokens != 0]),
        seconds=sum(known) + around if timed else None,
        memory=max(peaks, default=None if any(each.memory is None for each in left) else 0.0),
        store=None if weighed and all(size is None for size in weighed) else sum(size or 0.0 for size in sizes),
        run_folder=beside(facts, [each.stage for each in costs], sizes, runs),
        calls=sum(each.calls or 0 for each in left),
        lacking=lacking,
        unweighed=sum(size is None for size in sizes),
        at_most=any(each.passes.at_most for each in left),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing of several values is."""
    known = [value for value in values if value is not None]
    return sum(known) if known or not values else None


def machine_warnings(facts: Facts, total: Totals) -> list[str]:
    """What does not fit on this machine."""
    said = []
    if total.memory and (free := available(facts)) < total.memory:
        said.append(
            f"memory: a stage takes {gib(total.memory)} and {gib(free)} are free; lower train.micro_batch_tokens or "
            "evaluate.batch_tokens, set train.gradient_checkpointing, or take a larger machine"
        )
    folder = cache_root().absolute()
    while not folder.exists():
        folder = folder.parent
    taken = (total.store or 0.0) + total.run_folder
    if (room := shutil.disk_usage(folder).free) < taken:
        said.append(f"disk: the study takes {gib(taken)} and {gib(room)} are free in {folder}")
    return said
