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
from layersig.recipe.checks.values import arm_names, controlled_arms, list_at, table_at, tables_at
from layersig.recipe.faults import Fault
from layersig.recipe.schema import CONTROL_KINDS, RESERVED_ARMS

_HELDOUT = "heldout"
_TASK = re.compile(r"^\s*(?:task|group)\s*:\s*[\"']?([^\s\"'#,}]+)", re.MULTILINE)
_WHO_GETS_CONTROLS = (
    "primary arms get controls, named NAME.random and NAME.rule; "
    'with `controls = "all"` every arm whose scorer reads the model does'
)
_CONTROL = re.compile(r"\.(?:rule|random(?:-\d+)?)$")


def declaration_checks(data: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    """Faults of names of arms, outcomes and tasks: unknown ones, and repeated ones."""
    analyze = table_at(data, "analyze")
    arms = dict.fromkeys([*arm_names(data), *RESERVED_ARMS])
    baseline = analyze.get("baseline")
    if isinstance(baseline, str) and baseline not in arms:
        yield Fault(("analyze", "baseline"), f'there is no arm "{baseline}"{suggestion(baseline, arms)}')
    for number, name in enumerate(list_at(analyze, "primary")):
        if isinstance(name, str) and name not in arms:
            yield Fault(("analyze", "primary", number), f'there is no arm "{name}"{suggestion(name, arms)}')
        elif name == baseline:
            reason = "is the baseline, which cannot be compared with itself; name the arms that are compared with it"
            yield Fault(("analyze", "primary", number), f'"{name}" {reason}')
    yield from _contrasts(analyze, _with_controls(data, analyze, arms))
    yield from _sharing(data, analyze)
    yield from _outcomes(data, analyze, base_dir)
    yield from _looks(data, analyze)


def _with_controls(data: Mapping[str, Any], analyze: Mapping[str, Any], arms: dict[str, None]) -> dict[str, None]:
    """The names of all arms, and of the controls that are added to some of them."""
    sets = analyze.get("control_sets", 1)
    numbers = range(2, sets + 2) if type(sets) is int and 1 < sets <= 1000 else ()
    endings = ("random", "rule", *(f"random-{number}" for number in numbers))
    return {**arms, **dict.fromkeys(f"{name}.{ending}" for name in controlled_arms(data) for ending in endings)}


def _looks(data: Mapping[str, Any], analyze: Mapping[str, Any]) -> Iterator[Fault]:
    """A declared design that this number of seeds does not belong to."""
    looks = analyze.get("looks")
    numbers = looks.get("seeds") if isinstance(looks, Mapping) else looks
    seeds = data.get("seeds", [0])
    if isinstance(numbers, list) and isinstance(seeds, list) and len(seeds) not in numbers:
        allowed = ", ".join(map(str, numbers))
        yield Fault(("analyze", "looks"), f"looks are declared at {allowed} seeds, and `seeds` has {len(seeds)}")


def _sharing(data: Mapping[str, Any], analyze: Mapping[str, Any]) -> Iterator[Fault]:
    """Scorers that are declared to be tested, and nothing that their rankings could agree with."""
    scorers = table_at(data, "scorers")
    names = [name for name in list_at(analyze, "sharing") if isinstance(name, str)]
    for number, name in enumerate(names):
        path = ("analyze", "sharing", number)
        if name not in scorers:
            yield Fault(path, f'there is no scorer "{name}"{suggestion(name, scorers)}')
        elif name in names[:number]:
            yield Fault(path, f'"{name}" is named twice')
        elif (kind := table_at(scorers, name).get("kind")) in CONTROL_KINDS:
            yield Fault(path, f'"{name}" ({kind}) ranks without the model and the data; name a scorer that reads them')
    if len(names) == 1 and len(list(tables_at(data, "data"))) == 1 and not _has_milestones(scorers, names[0]):
        reason = (
            "one scorer on one data set has nothing to agree with; add a [[data]], a second value of its `checkpoint`, "
            "or name another scorer"
        )
        yield Fault(("analyze", "sharing"), reason)


def _has_milestones(scorers: Mapping[str, Any], name: str) -> bool:
    return len(list_at(table_at(scorers, name), "checkpoint")) > 1


def _contrasts(analyze: Mapping[str, Any], arms: Mapping[str, None]) -> Iterator[Fault]:
    seen: set[frozenset[str]] = set()
    for number, pair in enumerate(list_at(analyze, "contrasts")):
        path = ("analyze", "contrasts", number)
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
            continue  # reported by the schema
        unknown = False
        for place, name in enumerate(pair):
            if name not in arms:
                unknown = True
                hint = f"; {_WHO_GETS_CONTROLS}" if _CONTROL.search(name) else ""
                yield Fault((*path, place), f'there is no arm "{name}"{suggestion(name, arms)}{hint}')
        if unknown:
            continue
        if pair[0] == pair[1]:
            yield Fault(path, f'"{pair[0]}" cannot be compared with itself')
        elif frozenset(pair) in seen:
            yield Fault(path, f'"{pair[0]}" and "{pair[1]}" are named twice; declare each comparison once')
        elif pair[1] == analyze.get("baseline", "all-layers") and pair[0] in list_at(analyze, "primary"):
            yield Fault(path, f'"{pair[0]}" is primary, so it is compared with "{pair[1]}" already; remove this pair')
        seen.add(frozenset(pair))


def _outcomes(data: Mapping[str, Any], analyze: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    wanted = analyze.get("outcome")
    evaluate = table_at(data, "evaluate")
    sources = [source for _, source in task_sources(evaluate)]
    tasks = [source.removeprefix("pypi:") for source in sources if not source.startswith("file:")]
    tasks += [name for source in sources if source.startswith("file:") for name in _defined(base_dir, source)]
    known = [*tasks, *set_names(data)]
    if evaluate.get("heldout") is not False:
        known.insert(0, _HELDOUT)
    known = list(dict.fromkeys(known))
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
        if name == _HELDOUT and name not in known:
            reason = "`evaluate.heldout` is off, so no held-out loss is measured; turn it on, or name a task"
            yield Fault(path, reason)
        elif name not in known and name not in members():
            yield Fault(path, f'no task or set of questions of the recipe is called "{name}"{suggestion(name, known)}')
    for number, pair in enumerate(list_at(analyze, "same_items")):
        for place, name in enumerate(pair if isinstance(pair, list) else ()):
            if isinstance(name, str) and name not in tasks and name not in members():
                reason = f'no task of the recipe is called "{name}"{suggestion(name, tasks)}'
                yield Fault(("analyze", "same_items", number, place), reason)
        yield from _different_limits(evaluate, base_dir, number, pair)


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
