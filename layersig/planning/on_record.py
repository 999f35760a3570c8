"""Puts a plan on record, so that the run can show what it was planned to detect before an outcome was measured."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.pipeline import measures_arm
from layersig.planning.known import Known
from layersig.planning.precision import Precision
from layersig.store.cache import cache_root
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
