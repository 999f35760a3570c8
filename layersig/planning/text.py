"""The plan for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from layersig.planning import Plan
from layersig.planning.costs import Cost
from layersig.planning.memory import gib
from layersig.planning.precision import POWER, Precision

_UNKNOWN = "?"


def as_text(plan: Plan) -> str:
    """A table of stages, the totals, what was assumed, and what the declared comparisons can find."""
    return "\n".join([*_stages(plan), "", *_totals(plan), *_precision(plan), *_notes(plan), _last(plan)])


def as_json(plan: Plan) -> dict[str, Any]:
    """One JSON object; unknown numbers are null."""
    total = plan.totals
    return {
        "stages": [_stage_json(cost) for cost in plan.costs],
        "totals": {
            "stages": total.stages,
            "cached": total.cached,
            "trainings": total.trainings,
            "steps": total.steps,
            "tokens": None if total.tokens is None else round(total.tokens),
            "seconds": None if total.seconds is None else round(total.seconds, 1),
            "peak_memory": None if total.memory is None else round(total.memory),
            "store_bytes": None if total.store is None else round(total.store),
            "run_folder_bytes": round(total.run_folder),
            "judge_calls": total.calls,
            "not_counted": total.lacking,
            "not_weighed": total.unweighed,
            "at_most": total.at_most,
        },
        "speed": None if plan.speed is None else {"how": plan.speed.how, "by_kind": dict(plan.speed.by_kind)},
        "speed_origin": plan.speed_origin,
        "pilot": None if plan.pilot is None else plan.pilot.name,
        "missing": dict(plan.facts.known.missing),
        "declared": [_precision_json(each) for each in plan.precision],
        "warnings": [*plan.warnings, *(f"{_name(each)}: {said}" for each in plan.precision for said in each.warnings)],
    }


def duration(seconds: float | None) -> str:
    """A time for people."""
    if seconds is None:
        return _UNKNOWN
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{hours:.1f} h" if hours < 99.5 else f"{hours:.0f} h"


def _stage_json(cost: Cost) -> dict[str, Any]:
    stage = cost.stage
    return {
        "id": stage.id,
        "kind": stage.kind,
        "inputs": sorted({each.node for each in stage.inputs.values()}),
        "cached": cost.cached,
        "trainings": cost.trainings,
        "steps": cost.passes.steps,
        "tokens": None if cost.passes.tokens is None else round(cost.passes.tokens),
        "seconds": None if cost.seconds is None else round(cost.seconds, 2),
        "peak_memory": None if cost.memory is None else round(cost.memory),
        "store_bytes": None if cost.disk is None else round(cost.disk),
        "judge_calls": cost.calls,
        "at_most": cost.passes.at_most,
        "not_counted": cost.passes.unknown,
    }


def _precision_json(found: Precision) -> dict[str, Any]:
    wanted = found.declared
    return {
        "kind": wanted.kind,
        "arm": wanted.arm,
        "reference": wanted.reference,
        "data": wanted.data,
        "task": wanted.measure.task,
        "metric": wanted.measure.metric,
        "seeds": wanted.seeds,
        "items": wanted.items,
        "level": found.level,
        "family_size": found.family,
        "power": POWER,
        "detectable": found.detectable,
        "detectable_as_seen": found.as_seen,
        "variance_from": found.origin,
        "margin": found.margin,
        "gain": found.gain,
        "least_gain": found.least_gain,
        "warnings": list(found.warnings),
    }


def _stages(plan: Plan) -> Iterator[str]:
    rows = [("stage", "tokens", "time", "memory", "disk")]
    rows += [_row(cost) for cost in plan.costs]
    width = max(len(row[0]) for row in rows)
    for name, *figures in rows:
        yield f"{name:{width}}" + "".join(f"{figure:>12}" for figure in figures).rstrip()


def _row(cost: Cost) -> tuple[str, str, str, str, str]:
    if cost.cached:
        return cost.stage.id, "cached", "", "", ""
    bound = "<" if cost.passes.at_most else ""
    tokens = (
        _UNKNOWN if cost.passes.tokens is None else f"{bound}{cost.passes.tokens:,.0f}" if cost.passes.tokens else ""
    )
    if cost.stage.kind in ("grade", "compare"):
        calls = _UNKNOWN if cost.calls is None else f"{cost.calls:,}"
        return cost.stage.id, f"{calls} calls", "", "", "" if cost.disk is None else gib(cost.disk)
    disk = _UNKNOWN if cost.disk is None else gib(cost.disk)
    memory = _UNKNOWN if cost.memory is None else gib(cost.memory) if cost.memory else ""
    return cost.stage.id, tokens, f"{bound if cost.seconds else ''}{duration(cost.seconds)}", memory, disk


def _totals(plan: Plan) -> Iterator[str]:
    total = plan.totals
    bound = "at most " if total.at_most else ""
    short = f" without {total.lacking} stages that are not counted (?)" if total.lacking else ""
    yield f"trainings    {total.trainings:,} of {total.steps:,} optimizer steps"
    yield f"tokens       {_UNKNOWN if total.tokens is None else f'{bound}{total.tokens:,.0f}{short}'}"
    yield f"time         {bound}{duration(total.seconds)}{short if total.seconds is not None else ''}"
    yield f"             {plan.speed_origin}"
    yield f"memory       {_UNKNOWN if total.memory is None else gib(total.memory)}"
    store = _UNKNOWN if total.store is None else gib(total.store)
    without = f", without {total.unweighed} stages of unknown size" if total.unweighed else ""
    yield f"disk         {store} in the store, {gib(total.run_folder)} more in the run folder{without}"
    if plan.facts.recipe.judge is not None:
        yield f"judge        {total.calls:,} calls"


def _precision(plan: Plan) -> Iterator[str]:
    if not plan.precision:
        return
    first = plan.precision[0]
    members = "one declared comparison or claim" if first.family == 1 else f"{first.family} declared together"
    yield ""
    yield f"what is found with {100 * POWER:.0f} % power at level {first.level:.3g} ({members}):"
    for each in plan.precision:
        yield f"  {_name(each)}: {_found(each)}"
        yield from (f"    warning: {said}" for said in each.warnings)


def _name(found: Precision) -> str:
    wanted = found.declared
    against = f"{wanted.arm} against {wanted.reference}" if wanted.kind == "comparison" else f"{wanted.arm} as good"
    return f"{against}, {wanted.measure.metric} of {wanted.measure.task}, trained on {wanted.data}"


def _found(found: Precision) -> str:
    wanted = found.declared
    size = f"S = {wanted.seeds}, n = {_UNKNOWN if wanted.items is None else format(wanted.items, ',')}"
    if found.detectable is None:
        return f"not known ({size})" if wanted.items is None else f"nothing ({size})"
    scale, unit = (100.0, " points") if wanted.measure.is_share else (1.0, "")
    value = f"{scale * found.detectable:.3g}{unit}"
    if found.as_seen is not None and found.as_seen != found.detectable:
        value += f" ({scale * found.as_seen:.3g} if the pilot's spread is exact)"
    if wanted.kind == "as good":
        gain = (
            "" if found.least_gain is None else f", for which all layers must gain {scale * found.least_gain:.3g}{unit}"
        )
        return f"{value} above the share of the gain{gain} ({size}; spread: {found.origin})"
    return f"a difference of {value} ({size}; spread: {found.origin})"


def _notes(plan: Plan) -> Iterator[str]:
    said = []
    if plan.facts.known.missing:
        names = ", ".join(node.removeprefix("source/") for node in plan.facts.known.missing)
        said.append(f"not on this machine: {names}; `layersig fetch RECIPE` brings them, then all is counted")
    why = dict.fromkeys(
        cost.passes.unknown for cost in plan.costs if cost.passes.unknown is not None and not cost.cached
    )
    said += [f"not counted: {each}" for each in why]
    said += [f"warning: {each}" for each in plan.warnings]
    if said:
        yield ""
        yield from said


def _last(plan: Plan) -> str:
    cached = f", {plan.totals.cached} of them cached or free" if plan.totals.cached else ""
    return f"{plan.totals.stages} stages{cached}"
