"""What a recipe declares: comparisons and claims that are corrected as one family, and what each is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from layersig.findings.files import HELDOUT
from layersig.findings.outcomes import Measure
from layersig.findings.plan import Plan
from layersig.findings.sweep_curves import lines
from layersig.judging.records import SCORE
from layersig.planning.evaluation import asked_by
from layersig.planning.facts import Facts
from layersig.planning.writing import turns_of
from layersig.recipe.metrics import primary_of
from layersig.recipe.schema import ALL_LAYERS, Recipe

_SHARE = "acc"
"""What a task counts as whose definition is not at hand: right or wrong."""


@dataclass(frozen=True, slots=True)
class DeclaredComparison:
    """A comparison, or a claim that an arm is as good as all layers.

    Attributes:
        kind: Which of them.
        arm: The arm.
        reference: What it is compared with; all layers in a claim.
        data: Data set that both are trained on.
        measure: Task and metric.
        seeds: Training runs.
        items: Items; None where they are not known.
    """

    kind: Literal["comparison", "as good"]
    arm: str
    reference: str
    data: str
    measure: Measure
    seeds: int
    items: int | None


def declared(facts: Facts) -> list[DeclaredComparison]:
    """Every member of the declared family, in the order of the recipe."""
    return list(_members(facts))


def trends(recipe: Recipe) -> int:
    """How many declared tests of a trend along a sweep are corrected with them.

    Data sets that vary are assumed to hold out conversations of their own, so that no held-out loss is compared.
    """
    tasks = [outcome for outcome in recipe.analyze.outcomes if outcome != HELDOUT]
    return sum(
        len(list(lines(recipe, sweep))) * len(recipe.analyze.outcomes if sweep.of == "arms" else tasks)
        for sweep in recipe.sweeps
    )


def _members(facts: Facts) -> Iterator[DeclaredComparison]:
    recipe = facts.recipe
    plan = Plan(recipe, frozenset())
    pairs = [(arm, plan.baseline) for arm in plan.primary if arm != plan.baseline]
    pairs += [pair for pair in recipe.analyze.contrasts if pair not in pairs]
    measured = [(data.name, outcome) for data in recipe.data for outcome in recipe.analyze.outcomes]
    for data, outcome in measured:
        measure, items = _measure(facts, data, outcome)
        for arm, reference in pairs:
            yield DeclaredComparison("comparison", arm, reference, data, measure, len(recipe.seeds), items)
        for arm in (arm for arm, reference in pairs if reference == ALL_LAYERS):
            if plan.random_control(arm) and plan.margin(measure) is not None:
                yield DeclaredComparison("as good", arm, ALL_LAYERS, data, measure, len(recipe.seeds), items)


def _measure(facts: Facts, data: str, outcome: str) -> tuple[Measure, int | None]:
    """The measure that an outcome will be, and its items."""
    recipe, assumed = facts.recipe, facts.assumed
    if outcome == HELDOUT:
        metric = "preference_loss" if facts.learns_pairs(recipe.train.objective) else "loss"
        return Measure(f"{HELDOUT}/{data}", metric), facts.rows(data, "heldout")
    for number, task in enumerate(recipe.evaluate.tasks):
        asked = asked_by(facts, task.model_dump(mode="json", exclude={"data"}), f"source/task/{number}")
        by_name = {} if asked is None else {name.partition(">")[0]: count for name, count in asked.by_name.items()}
        if asked is not None and outcome in by_name:
            return Measure(outcome, primary_of(asked.metrics) or _SHARE), by_name[outcome]
        if asked is None and task.source.removeprefix("pypi:") == outcome and outcome not in assumed.items:
            return Measure(outcome, _SHARE), task.limit
    for number, asked_for in enumerate(recipe.evaluate.conversations):
        if outcome == asked_for.label:
            turns = turns_of(facts, number)
            return Measure(outcome, SCORE), None if turns is None else sum(map(len, turns))
    return Measure(outcome, _SHARE), assumed.items.get(outcome)
