"""The plan for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from layersig.analysis.sharing import MIN_SEEDS_FOR_SHARING
from layersig.engine.pace import duration
from layersig.planning import Plan
from layersig.planning.cards import CARDS, Fit
from layersig.planning.costs import Cost, Total, Totals
from layersig.planning.memory import gib
from layersig.planning.precision import POWER, Precision, in_units

_UNKNOWN = "?"


def as_text(plan: Plan) -> str:
    """A table of stages, the totals, what was assumed, and what the declared comparisons can find."""
    return "\n".join(
        [
            *_stages(plan),
            "",
            *_totals(plan),
            *precision_lines(plan.precision),
            *_sharing(plan),
            *cards_text(plan.fits),
            *_notes(plan),
            _last(plan),
        ]
    )


def as_json(plan: Plan) -> dict[str, Any]:
    """One JSON object; unknown numbers are null, and totals have the number of stages where each is unknown."""
    total = plan.totals
    counted = {
        "steps": total.steps,
        "tokens": total.tokens,
        "peak_memory": total.memory,
        "store_bytes": total.store,
        "judge_calls": total.calls,
    }
    return {
        "stages": [_stage_json(cost) for cost in plan.costs],
        "totals": {
            "stages": total.stages,
            "cached": total.cached,
            "trainings": total.trainings,
            **{name: None if each.value is None else round(each.value) for name, each in counted.items()},
            "seconds": None if total.seconds.value is None else round(total.seconds.value, 1),
            "run_folder_bytes": round(total.run_folder),
            "not_counted": total.lacking,
            "unknown": {name: each.unknown for name, each in (*counted.items(), ("seconds", total.seconds))},
            "at_most": total.at_most,
        },
        "speed": None if plan.speed is None else {"how": plan.speed.how, "by_kind": dict(plan.speed.by_kind)},
        "speed_origin": plan.speed_origin,
        "pilot": None if plan.pilot is None else plan.pilot.name,
        "missing": dict(plan.facts.known.missing),
        "declared": [_precision_json(each) for each in plan.precision],
        "declared_sharing": list(plan.facts.recipe.analyze.sharing),
        "cards": None if plan.fits is None else [_fit_json(each) for each in plan.fits],
        "warnings": [*plan.warnings, *(f"{_name(each)}: {said}" for each in plan.precision for said in each.warnings)],
    }


def _stage_json(cost: Cost) -> dict[str, Any]:
    stage = cost.stage
    return {
        "id": stage.id,
        "kind": stage.kind,
        "inputs": sorted({each.node for each in stage.inputs.values()}),
        "cached": cost.cached,
        "trainings": cost.trainings,
        "steps": cost.steps,
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
    steps = _told(total.steps, _number, after=" optimizer steps")
    yield f"trainings    {total.trainings:,} of {steps}"
    yield f"tokens       {_told(total.tokens, _number, at_most=total.at_most)}"
    yield f"time         {_told(total.seconds, duration, at_most=total.at_most)}"
    yield f"             {plan.speed_origin}"
    yield f"memory       {_told(total.memory, gib)}"
    beside = f"{'at least ' if total.store.unknown else ''}{gib(total.run_folder)} more in the run folder"
    yield f"disk         {_told(total.store, gib, after=' in the store')}; {beside}"
    if plan.facts.recipe.judge is not None:
        yield f"judge        {_told(total.calls, _number, after=' calls')}"


def in_one_line(total: Totals) -> str:
    """Time, memory and disk of the stages that remain."""
    parts = (
        _told(total.seconds, duration, at_most=total.at_most),
        f"{_told(total.memory, gib)} of memory",
        f"{_told(total.store, gib)} of disk",
    )
    return f"planned: {' · '.join(parts)}"


def total_time(plan: Plan) -> str:
    """How long all stages that are left will take, in a few words."""
    return f"{_told(plan.totals.seconds, duration, at_most=plan.totals.at_most)} on this machine"


def _told(total: Total, shown: Callable[[float], str], *, after: str = "", at_most: bool = False) -> str:
    """A total, as a lower bound where stages are unknown; where what is known is an upper bound, as neither."""
    if total.value is None:
        return f"{_UNKNOWN}{after}"
    figure = f"{shown(total.value)}{after}"
    if not total.unknown:
        return f"at most {figure}" if at_most else figure
    stages = f"{total.unknown} stage{'' if total.unknown == 1 else 's'} unknown"
    return f"at most {figure} in the stages that are known, {stages}" if at_most else f"at least {figure}, {stages}"


def _number(value: float) -> str:
    return f"{value:,.0f}"


def precision_lines(members: Sequence[Precision]) -> Iterator[str]:
    """What the declared comparisons and claims can find, a line or more for each."""
    if not members:
        return
    first = members[0]
    family = "one declared comparison or claim" if first.family == 1 else f"{first.family} declared together"
    yield ""
    yield f"what is found with {100 * POWER:.0f} % power at level {first.level:.3g} ({family}):"
    for each in members:
        yield f"  {_name(each)}: {_found(each)}"
        yield from (f"    warning: {said}" for said in each.warnings)


def _sharing(plan: Plan) -> Iterator[str]:
    """The declared tests of rankings, and whether there are seeds enough for a verdict."""
    recipe = plan.facts.recipe
    if not (names := recipe.analyze.sharing):
        return
    seeds = len(recipe.seeds)
    yield ""
    yield f"declared: whether rankings agree, by {', '.join(names)} (S = {seeds})"
    if seeds < MIN_SEEDS_FOR_SHARING:
        yield f"    warning: no verdict is given with fewer than {MIN_SEEDS_FOR_SHARING} seeds; add to `seeds`"


def _name(found: Precision) -> str:
    wanted = found.declared
    against = (
        f"{wanted.arm} against {wanted.reference}"
        if wanted.kind == "comparison"
        else f"{wanted.arm} as good as all layers"
    )
    return f"{against}, {wanted.measure.metric} of {wanted.measure.task}, trained on {wanted.data}"


def _found(found: Precision) -> str:
    wanted = found.declared
    size = f"S = {wanted.seeds}, n = {_UNKNOWN if wanted.items is None else format(wanted.items, ',')}"
    if found.detectable is None:
        return f"not known ({size})" if wanted.items is None else f"nothing ({size})"
    value = in_units(wanted.measure, found.detectable)
    if found.as_seen is not None and found.as_seen != found.detectable:
        value += f" ({in_units(wanted.measure, found.as_seen)} if the pilot's spread is exact)"
    if wanted.kind == "comparison":
        return f"a difference of {value} ({size}; spread: {found.origin})"
    gain = None if found.least_gain is None else in_units(wanted.measure, found.least_gain)
    if wanted.measure.is_share and (found.least_gain or 0.0) > 1:
        return f"nothing: all layers would have to gain {gain} ({size}; spread: {found.origin})"
    needed = "" if gain is None else f"; all layers must gain at least {gain}"
    return f"{value} above the required share of the gain{needed} ({size}; spread: {found.origin})"


def cards_text(fits: Sequence[Fit] | None) -> Iterator[str]:
    """A table of equal stages and what they need, and under it what makes each fit where it does not."""
    if not fits:
        return
    yield ""
    yield 'peak memory on a GPU, a lower bound where batch_tokens or micro_batch_tokens is "auto"'
    yield "(estimates from shapes, see docs/planning.md):"
    names = [each.stages[0] + (f" and {len(each.stages) - 1} alike" if each.stages[1:] else "") for each in fits]
    width = max(len(name) for name in ("stage", *names))
    yield f"  {'stage':{width}}{'bf16':>12}{'NF4':>12}" + "".join(f"{card:>9}" for card in CARDS)
    for name, fit in zip(names, fits, strict=True):
        needs = "".join(f"{'-' if need is None else gib(need.total):>12}" for need in (fit.bf16, fit.nf4))
        marks = "".join(f"{_mark(fit.cards[card]):>9}" for card in CARDS)
        yield f"  {name:{width}}{needs}{marks}"
        changes: dict[str, list[str]] = {}
        for card, how in fit.cards.items():
            if how is not None and how.startswith("with "):
                changes.setdefault(how, []).append(card)
        yield from (f"    {' and '.join(cards)}: {how}" for how, cards in changes.items())


def _mark(how: str | None) -> str:
    return "no" if how is None else "changed" if how.startswith("with ") else how


def _fit_json(fit: Fit) -> dict[str, Any]:
    needs = {name: None if need is None else round(need.total) for name, need in (("bf16", fit.bf16), ("nf4", fit.nf4))}
    return {"stages": list(fit.stages), **needs, "cards": dict(fit.cards)}


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
