"""What a study will cost on this machine and what its declared comparisons can find, before anything is run.

    recipe -> what lies here (known) -> passes of every stage (work) -> time, memory, disk (costs)
                                     -> declared comparisons (declared) -> detectable differences (precision)

- `known`: sources and cached stages; runs the stages that need no weights, so that real tokens are counted
- `assumptions`: what the user states where nothing is known
- `facts`: rows, lengths, selections, shapes: what the counting modules ask
- `trainings`, `scorers`, `evaluation`, `writing`: passes of a stage; `work` chooses among them
- `speed`, `probe`, `rates`: what a pass takes on this machine
- `memory`, `disk`, `costs`: what that comes to
- `gpu_memory`, `cards`: what it takes on a GPU, and whether it fits on those of common sizes
- `spreads`, `precision`: what is found with 80 % power, from a pilot or from assumed variances
- `text`: the plan for people
- `outlook`: one line of it when a study begins
- `on_record`: what it says of costs and of declared comparisons, kept for the run
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layersig.planning.assumptions import assumptions
from layersig.planning.cards import Fit, fits
from layersig.planning.costs import Cost, Totals, costs_of, machine_warnings, totals
from layersig.planning.facts import Facts
from layersig.planning.known import known
from layersig.planning.precision import Precision, precision
from layersig.planning.rates import Speed
from layersig.planning.speed import speed_of
from layersig.planning.spreads import Pilot, pilot_of
from layersig.recipe.load import LoadedRecipe

__all__ = ["Options", "Plan", "plan"]


@dataclass(frozen=True)
class Options:
    """How to plan.

    Attributes:
        runs: Folder of all runs: pilots are found there, and the run folder will lie there.
        pilot: The run to take variances from; found by its model when None.
        assumed: `NAME=VALUE` entries.
        measure: Measure the speed even where one is kept.
        cards: Say how every stage fits on GPUs of common sizes.
        config: Folder with the config.json of a model that is not on this machine.
    """

    runs: Path
    pilot: str | None = None
    assumed: Sequence[str] = ()
    measure: bool = False
    cards: bool = False
    config: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A study before it is run.

    Attributes:
        facts: What is known and assumed.
        costs: Every stage.
        totals: All of them.
        speed: The speed that times are counted with; None without one.
        speed_origin: Where it comes from.
        pilot: The run that variances come from.
        precision: Every declared comparison and claim.
        warnings: What does not fit on this machine.
        fits: How stages fit on GPUs of common sizes; None where it was not asked for, or the model is not known.
    """

    facts: Facts
    costs: tuple[Cost, ...]
    totals: Totals
    speed: Speed | None
    speed_origin: str
    pilot: Pilot | None
    precision: tuple[Precision, ...]
    warnings: tuple[str, ...]
    fits: tuple[Fit, ...] | None = None


def plan(loaded: LoadedRecipe, options: Options, warn: Callable[[str], None]) -> Plan:
    """Plan a study. Nothing is fetched, and nothing is trained but a few steps to time them.

    Args:
        loaded: The recipe.
        options: How to plan.
        warn: Informed of what the user should know.

    Raises:
        UserError: A source, the data, the pilot or an assumption cannot be used.
    """
    assumed = assumptions(options.assumed, loaded.recipe)
    facts = Facts(known(loaded, warn), assumed, options.config)
    stages = facts.known.graph.stages
    left = [stage for stage in stages if stage.id not in facts.known.cached]
    timed = [stage for stage in left if stage.computes]
    speed, origin = (
        (None, "nothing is left to time") if not timed else speed_of(facts, timed, remeasure=options.measure)
    )
    if assumed.step_seconds is not None:
        origin = f"assumed: {assumed.step_seconds:g} s a training step; {origin}"
    costs = tuple(costs_of(facts, stages, speed))
    total = totals(facts, costs, speed, options.runs)
    pilot = pilot_of(facts, options.pilot, options.runs) if facts.recipe.measures else None
    found = tuple(precision(facts, pilot)) if facts.recipe.measures else ()
    warnings = tuple(machine_warnings(facts, total, options.runs)) if facts.shapes is not None else ()
    cards = tuple(fits(facts)) if options.cards and facts.configuration is not None else None
    return Plan(facts, costs, total, speed, origin, pilot, found, warnings, cards)
