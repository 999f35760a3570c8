"""What a study costs on this machine: stage by stage and in total."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layersig.pipeline import Stage
from layersig.planning.disk import beside, nearest, stored
from layersig.planning.facts import Facts
from layersig.planning.memory import available, gib, peak
from layersig.planning.passes import Passes
from layersig.planning.rates import Speed
from layersig.planning.trainings import settings_of, trials
from layersig.planning.work import passes
from layersig.planning.writing import judge_calls
from layersig.stages.kinds import Training
from layersig.store.cache import cache_root

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
        trains = isinstance(self.stage.spec, Training) and not self.cached
        return trials(settings_of(self.stage)) if trains else 0

    @property
    def steps(self) -> int | None:
        """Optimizer steps that it takes; None where the rows that it trains on are not known."""
        return self.passes.steps or (None if self.passes.tokens is None and self.trainings else 0)


@dataclass(frozen=True, slots=True)
class Total:
    """A sum or a maximum over stages.

    Attributes:
        value: Over the stages where it is known; None where it is known of none that counts.
        unknown: Stages where it is not known.
    """

    value: float | None
    unknown: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What the stages that are left cost together.

    Attributes:
        stages: Stages, cached ones included.
        cached: Stages that are cached.
        trainings: Trainings that are left.
        steps: Optimizer steps of the trainings.
        tokens: Tokens through the model.
        seconds: Time, with start and report; of what an endpoint judges, not known.
        memory: Largest peak.
        store: Bytes added to the store.
        run_folder: Bytes of the run folder that are no links into the store.
        calls: Verdicts that the judge is asked for.
        lacking: Stages whose tokens, time or verdicts are not known.
        at_most: Whether a part of it is an upper bound: texts may end earlier.
    """

    stages: int
    cached: int
    trainings: int
    steps: Total
    tokens: Total
    seconds: Total
    memory: Total
    store: Total
    run_folder: float
    calls: Total
    lacking: int
    at_most: bool


def costs_of(facts: Facts, stages: Iterable[Stage], speed: Speed | None) -> list[Cost]:
    """What stages cost, in the order in which they run: the first training also warms the process up."""
    costs = [cost_of(facts, stage, speed) for stage in stages]
    if speed is not None and facts.assumed.step_seconds is None:
        first = next((place for place, each in enumerate(costs) if each.trainings), None)
        if first is not None and (seconds := costs[first].seconds) is not None:
            costs[first] = replace(costs[first], seconds=seconds + speed.warm_up)
    return costs


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
        peak(facts, stage, asked),
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
    start = _START if speed is None or speed.start is None else speed.start
    around = start + _REPORT + _PER_EVALUATION * evaluations
    time = _total((each.seconds, each.passes.tokens != 0) for each in left)
    lacking = sum(
        each.calls is None or (each.seconds is None and each.stage.kind not in ("grade", "compare")) for each in left
    )
    sizes = [each.disk if not each.cached else 0.0 for each in costs]
    return Totals(
        stages=len(costs),
        cached=len(costs) - len(left),
        trainings=sum(each.trainings for each in left),
        steps=_total((each.steps, each.steps != 0) for each in left if isinstance(each.stage.spec, Training)),
        tokens=_total((each.passes.tokens, each.passes.tokens != 0) for each in left),
        seconds=Total(None if time.value is None else time.value + around, time.unknown),
        memory=_total(((each.memory, each.memory != 0) for each in left), max),
        store=_total((each.disk, each.passes.tokens != 0) for each in left),
        run_folder=beside(facts, [each.stage for each in costs], sizes, runs),
        calls=_total((each.calls, each.calls != 0) for each in left),
        lacking=lacking,
        at_most=any(each.passes.at_most for each in left),
    )


def _total(parts: Iterable[tuple[float | None, bool]], combined: Callable[[list[float]], float] = sum) -> Total:
    """What is known of all parts together.

    Args:
        parts: The value of each, None where not known, and whether it counts: trifles such as the time of a stage that
            runs no model are no answer where all else is unknown.
        combined: Their sum, or their maximum.
    """
    every = list(parts)
    known = [value for value, _ in every if value is not None]
    unknown = len(every) - len(known)
    told = not unknown or any(counts for value, counts in every if value is not None)
    return Total(combined([0.0, *known]) if told else None, unknown)


def machine_warnings(facts: Facts, total: Totals, runs: Path) -> list[str]:
    """What does not fit on this machine.

    Args:
        facts: What is known.
        total: What the study takes.
        runs: Folder of all runs.
    """
    said = []
    peak_memory = total.memory.value
    if peak_memory and (free := available(facts)) < peak_memory:
        said.append(
            f"memory: a stage takes {gib(peak_memory)} and {gib(free)} are free; lower train.micro_batch_tokens or "
            "evaluate.batch_tokens, set train.gradient_checkpointing, or take a larger machine"
        )
    taken: dict[int, tuple[Path, float]] = {}
    for folder, size in ((cache_root(), total.store.value or 0.0), (runs, total.run_folder)):
        place = nearest(folder)
        first, before = taken.get(place.stat().st_dev, (place, 0.0))
        taken[place.stat().st_dev] = first, before + size
    for place, size in taken.values():
        if (room := shutil.disk_usage(place).free) < size:
            said.append(f"disk: the study takes {gib(size)} and {gib(room)} are free in {place}")
    return said
