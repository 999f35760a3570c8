"""Puts a plan on record, so that the run can show what was expected before anything was computed or measured."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.pipeline import measures_arm
from layersig.planning.costs import Cost
from layersig.planning.known import Known
from layersig.planning.precision import Precision
from layersig.store.cache import cache_root
from layersig.store.planned_costs import PlannedCosts, PlannedStageForm
from layersig.store.plans import PlannedForm, Plans


def put_on_record(known: Known, members: Sequence[Precision]) -> bool:
    """Put what declared comparisons were planned to detect on record, unless an outcome of an arm is measured already.

    Args:
        known: The recipe, and which of its stages are cached.
        members: Every declared comparison and claim.

    Returns:
        False where the plan came too late for that.
    """
    if any(measures_arm(stage.kind, stage.cell.arm) for stage in known.graph.stages if stage.id in known.cached):
        return False
    Plans(cache_root()).put(known.loaded.id, [_form(member) for member in members])
    return True


def put_costs_on_record(known: Known, costs: Sequence[Cost], origin: str) -> None:
    """Put what the stages that are left will take on record.

    Args:
        known: The recipe.
        costs: What every stage costs; cached ones are left out.
        origin: Where the speed comes from.
    """
    stages = [_stage_form(cost) for cost in costs if not cost.cached]
    PlannedCosts(cache_root()).put(known.loaded.id, {"origin": origin, "stages": stages})


def _stage_form(cost: Cost) -> PlannedStageForm:
    return {
        "id": cost.stage.id,
        "seconds": cost.seconds,
        "at_most": cost.passes.at_most,
        "memory": cost.memory,
        "disk": cost.disk,
        "calls": cost.calls,
    }


def _form(member: Precision) -> PlannedForm:
    declared = member.declared
    return {
        "kind": declared.kind,
        "arm": declared.arm,
        "reference": declared.reference,
        "data": declared.data,
        "task": declared.measure.task,
        "metric": declared.measure.metric,
        "seeds": declared.seeds,
        "items": declared.items,
        "level": member.level,
        "detectable": member.detectable,
        "margin": member.margin,
        "origin": member.origin,
        "assumed": member.assumed,
    }
