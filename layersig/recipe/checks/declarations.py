"""Checks of `[analyze]`: declarations must name arms, tasks and sets of questions of the recipe.

Otherwise a misspelt name would silently drop a declared comparison.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from layersig.plugin.table import suggestion
from layersig.recipe.checks.judge import set_names
from layersig.recipe.checks.library import definitions_named, text_of
from layersig.recipe.checks.tasks import task_sources
from layersig.recipe.checks.values import (
    arm_names,
    baseline_arm,
    controlled_arms,
    list_at,
    measures,
    primary_arms,
    selecting_arms,
    table_at,
    tables_at,
)
from layersig.recipe.faults import Fault
from layersig.recipe.schema import RESERVED_ARMS
from layersig.recipe.schema.arms import missing_controls

_HELDOUT = "heldout"
_TASK = re.compile(r"^\s*(?:task|group)\s*:\s*[\"']?([^\s\"'#,}]+)", re.MULTILINE)
_MOST_SETS = 1000
"""Most random sets that are looked at; the schema reports larger numbers."""
_WHO_GETS_CONTROLS = (
    "primary arms get controls, named NAME.random and NAME.rule; "
    'with `controls = "all"` every arm whose scorer reads the model gets them'
)
_CONTROL = re.compile(r"(?P<arm>.+)\.(?P<kind>rule|random)(?P<number>-\d+)?")


def declaration_checks(data: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    """Faults of names of arms, outcomes and tasks: unknown ones, and repeated ones."""
    analyze = table_at(data, "analyze")
    arms = dict.fromkeys([*arm_names(data), *RESERVED_ARMS])
    baseline = baseline_arm(data)
    if isinstance(baseline, str) and baseline not in arms:
        yield Fault(("analyze", "baseline"), f'there is no arm "{baseline}"{suggestion(baseline, arms)}')
    for number, name in enumerate(list_at(analyze, "primary")):
        if isinstance(name, str) and name not in arms:
            yield Fault(("analyze", "primary", number), f'there is no arm "{name}"{suggestion(name, arms)}')
        elif name == baseline:
            reason = "is the baseline, which cannot be compared with itself; name the arms that are compared with it"
            yield Fault(("analyze", "primary", number), f'"{name}" {reason}')
    for key in ("primary", "contrasts"):
        if list_at(analyze, key) and not measures(data):
            reason = "nothing is measured that could be compared; add `evaluate.tasks` or [[arms]], or remove it"
            yield Fault(("analyze", key), reason)
    if list_at(analyze, "contrasts"):
        yield from _contrasts(data, analyze, arms)
    yield from _control_sets(data, analyze)
    yield from _outcomes(data, analyze, base_dir)
    yield from _looks(data, analyze)


def _control_sets(data: Mapping[str, Any], analyze: Mapping[str, Any]) -> Iterator[Fault]:
    """Random sets where no arm gets controls."""
    sets = analyze.get("control_sets", 1)
    brought = any(arm.kind == "matched-random" and arm.select.get("fixed") for arm in selecting_arms(data))
    if type(sets) is int and sets > 1 and not brought and not controlled_arms(data):
        reason = "no arm gets controls, so none has random sets; set `controls` and `primary` so that one does, or"
        yield Fault(("analyze", "control_sets"), f"{reason} remove it", idle=True)


def _added_controls(data: Mapping[str, Any], analyze: Mapping[str, Any]) -> dict[str, None]:
    """The names of the controls that will be added."""
    sets, arms = analyze.get("control_sets", 1), selecting_arms(data)
    sets = sets if type(sets) is int and sets <= _MOST_SETS else 1
    return {control.name: None for arm in controlled_arms(data) for control in missing_controls(arm, arms, sets)}


def _looks(data: Mapping[str, Any], analyze: Mapping[str, Any]) -> Iterator[Fault]:
    """A declared design that this number of seeds does not belong to."""
    looks = analyze.get("looks")
    numbers = looks.get("seeds") if isinstance(looks, Mapping) else looks
    seeds = data.get("seeds", [0])
    if isinstance(numbers, list) and isinstance(seeds, list) and len(seeds) not in numbers:
        allowed = ", ".join(map(str, numbers))
        yield Fault(("analyze", "looks"), f"looks are declared at {allowed} seeds, and `seeds` has {len(seeds)}")


def _contrasts(data: Mapping[str, Any], analyze: Mapping[str, Any], arms: Mapping[str, None]) -> Iterator[Fault]:
    known = {**arms, **_added_controls(data, analyze)}
    primary, baseline = {*primary_arms(data)}, baseline_arm(data)
    seen: set[frozenset[str]] = set()
    for number, pair in enumerate(list_at(analyze, "contrasts")):
        path = ("analyze", "contrasts", number)
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
            continue  # reported by the schema
        unknown = False
        for place, name in enumerate(pair):
            if name not in known:
                unknown = True
                yield Fault((*path, place), _no_arm(name, known, data))
        if unknown:
            continue
        if pair[0] == pair[1]:
            yield Fault(path, f'"{pair[0]}" cannot be compared with itself')
        elif frozenset(pair) in seen:
            yield Fault(path, f'"{pair[0]}" and "{pair[1]}" are named twice; declare each comparison once')
        elif baseline in pair and (others := {*pair} - {baseline}) <= primary:
            yield Fault(
                path, f'"{others.pop()}" is primary, so it is compared with "{baseline}" already; remove this pair'
            )
        seen.add(frozenset(pair))


def _no_arm(name: str, known: Mapping[str, None], data: Mapping[str, Any]) -> str:
    """Why a contrast cannot name an arm."""
    if (control := _CONTROL.fullmatch(name)) is None:
        return f'there is no arm "{name}"{suggestion(name, known)}'
    arm, role, kind = control["arm"], control["kind"], "type-depth" if control["kind"] == "rule" else "matched-random"
    for each in selecting_arms(data):
        fixed = bool(each.select.get("fixed"))
        if (each.kind, each.select.get("like"), fixed) == (kind, arm, control["number"] is not None):
            return f'there will be no arm "{name}": "{each.name}" is the {role} control of "{arm}"; name that'
    return f'there is no arm "{name}"{suggestion(name, known)}; {_WHO_GETS_CONTROLS}'


def _outcomes(data: Mapping[str, Any], analyze: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    wanted = analyze.get("outcome", _HELDOUT)
    evaluate = table_at(data, "evaluate")
    sources = [source for _, source in task_sources(evaluate)]
    tasks = [source.removeprefix("pypi:") for source in sources if not source.startswith("file:")]
    tasks += [name for source in sources if source.startswith("file:") for name in _defined(base_dir, source)]
    known = list(dict.fromkeys([*tasks, *set_names(data)]))
    unmeasured = _no_heldout_loss(data)
    members = cache(lambda: _members(sources))  # a search of the library takes half a second
    seen: set[str] = set()
    for number, name in enumerate(wanted if isinstance(wanted, list) else [wanted]):
        path = ("analyze", "outcome", number) if isinstance(wanted, list) else ("analyze", "outcome")
        if not isinstance(name, str):
            continue
        if name in seen:
            yield Fault(path, f'"{name}" is named twice')
            continue
        seen.add(name)
        if name == _HELDOUT:
            if unmeasured is not None and known and (primary_arms(data) or list_at(analyze, "contrasts")):
                reason = f"the outcome is heldout, which is not measured: {unmeasured}"
                yield Fault(path, f"{reason}; set analyze.outcome to one of: {', '.join(known)}")
        elif name not in known and name not in members():
            allowed = known if unmeasured is not None else [_HELDOUT, *known]
            reason = f'no task or set of questions of the recipe is called "{name}"{suggestion(name, allowed)}'
            yield Fault(path, reason)
    for number, pair in enumerate(list_at(analyze, "same_items")):
        for place, name in enumerate(pair if isinstance(pair, list) else ()):
            if isinstance(name, str) and name not in tasks and name not in members():
                reason = f'no task of the recipe is called "{name}"{suggestion(name, tasks)}'
                yield Fault(("analyze", "same_items", number, place), reason)
        yield from _different_limits(evaluate, base_dir, number, pair)


def _no_heldout_loss(data: Mapping[str, Any]) -> str | None:
    """Why no held-out loss is measured; None where it is."""
    if table_at(data, "evaluate").get("heldout") is False:
        return "`evaluate.heldout` is off"
    sets = [entry for _, entry in tables_at(data, "data")]
    return "every [[data]] has heldout = 0" if sets and all(each.get("heldout") == 0 for each in sets) else None


def _different_limits(evaluate: Mapping[str, Any], base_dir: Path, number: int, pair: Any) -> Iterator[Fault]:
    """A pair in `same_items` of which different numbers of items are drawn."""
    limits = {
        name: entry.get("limit") if isinstance(entry := list_at(evaluate, "tasks")[place], dict) else None
        for place, source in task_sources(evaluate)
        for name in (_defined(base_dir, source) if source.startswith("file:") else [source.removeprefix("pypi:")])
    }
    found = [limits[name] for name in pair if name in limits] if isinstance(pair, list) else []
    if len(found) == 2 and found[0] != found[1]:
        told = " and ".join("none" if limit is None else str(limit) for limit in found)
        reason = f"their limits differ ({told}), so they would have different items; give both the same `limit`"
        yield Fault(("analyze", "same_items", number), reason)


def _defined(base_dir: Path, source: str) -> list[str]:
    """The names that results may give a user's task: that of its definition, or of its file if it has several."""
    path = base_dir / source.removeprefix("file:")
    return [path.stem, *_TASK.findall(text_of(path))]


def _members(sources: list[str]) -> frozenset[str]:
    """Names of the tasks that groups and tags of lm-eval among the sources may have."""
    groups = [source for source in sources if ":" not in source]
    return frozenset(name for text in definitions_named(groups) for name in _TASK.findall(text))
