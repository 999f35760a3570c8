"""What a recipe must fulfil beyond the types of its keys: names, references, and the parameters of components.

The checks read the values as they stand in the file, so that they report even where other keys are wrong.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from layersig.errors import UserError
from layersig.plugin.components import Component, Kind
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.manager import with_files
from layersig.plugin.table import Components, suggestion
from layersig.recipe.faults import Fault, faults_of
from layersig.recipe.judge_checks import judge_checks, question_sets
from layersig.recipe.positions import KeyPath
from layersig.recipe.ranking_checks import ranked_on_checks, ranking_checks, source_checks
from layersig.recipe.schema import (
    DATA_SCHEMES,
    MODEL_SCHEMES,
    RESERVED_ARMS,
    UPDATE_SCHEMES,
    ScorerChoice,
    TrainSettings,
)
from layersig.recipe.tuning_checks import tuning_checks

_BESIDE_PARAMS: Mapping[Kind, frozenset[str]] = {
    "scorer": frozenset(ScorerChoice.model_fields),
    "policy": frozenset({"kind"}),
}
_UNTRAINED: Mapping[Any, str] = {
    "graft": "a grafted arm is not trained; leave `train` out",
    "prune": "a pruned arm is trained by `recover`; write the keys there",
}

_CODE_TASKS = ("humaneval", "mbpp")
"""How the names of lm-eval's tasks begin whose answers are programs to be run."""
_CODE_MARKS = re.compile(r"^\s*unsafe_code\s*:\s*true|\bmetric\s*:\s*[\"']?passes\b", re.MULTILINE | re.IGNORECASE)


def strange_values(value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Values that TOML knows and no key of a recipe may have."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from strange_values(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from strange_values(each, (*path, number))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(path, f"must be a finite number; got {value}")
    elif isinstance(value, datetime.date | datetime.time):
        yield Fault(path, f'must not be a date or time; write "{value}" if a string is meant')


class Brought(NamedTuple):
    """What a recipe may name, the plugin files that bring some of it, and what is wrong with those files."""

    components: Components
    files: tuple[Path, ...]
    faults: list[Fault]


def plugin_files(data: Mapping[str, Any], base_dir: Path) -> Brought:
    """Load the plugin files of a recipe; one that does not work is a fault, and the others still count."""
    files: list[Path] = []
    faults = []
    named = data.get("plugins")
    for number, name in enumerate(named if isinstance(named, list) else []):
        if not isinstance(name, str):
            continue
        try:
            with_files([base_dir / name])
            files.append(base_dir / name)
        except UserError as error:
            faults.append(Fault(("plugins", number), str(error)))
    return Brought(with_files(files), tuple(files), faults)


def cross_checks(data: Mapping[str, Any], components: Components, base_dir: Path) -> Iterator[Fault]:
    """Every fault that shows only when keys are read together, or with the registered components.

    Args:
        data: The values of the recipe.
        components: What it may name.
        base_dir: Where relative files start from.
    """
    arms = dict(_tables(data, "arms"))
    yield from _unique(data, "data")
    yield from _unique(data, "arms")
    yield from _schemes(data, components)
    yield from _seeds(data)
    yield from _tasks(data)
    yield from _code(data, base_dir)
    yield from judge_checks(data)
    for name, table in _scorers(data).items():
        if isinstance(table, dict):
            yield from _scorer(table, ("scorers", name), components)
    for number, arm in arms.items():
        yield from _arm(arm, ("arms", number), data, components)
    yield from _circles(arms)
    yield from _baseline(data)
    yield from tuning_checks(data, components)
    if not arms and not data.get("arms") and not _scorers(data):
        yield Fault((), "there is nothing to do: give at least one [scorers.NAME] or one [[arms]]")


def _tables(data: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    entries = data.get(key)
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield number, entry


def _scorers(data: Mapping[str, Any]) -> dict[str, Any]:
    scorers = data.get("scorers")
    return scorers if isinstance(scorers, dict) else {}


def _arm_names(data: Mapping[str, Any]) -> list[str]:
    return [arm["name"] for _, arm in _tables(data, "arms") if isinstance(arm.get("name"), str)]


def _unique(data: Mapping[str, Any], key: str) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for number, entry in _tables(data, key):
        name = entry.get("name")
        if not isinstance(name, str):
            continue
        if key == "arms" and name in RESERVED_ARMS:
            yield Fault((key, number, "name"), f'"{name}" is reserved: that arm is always there; take another name')
        # Names become folders, and some file systems do not tell upper from lower case.
        elif name.casefold() in seen:
            yield Fault((key, number, "name"), f'"{name}" is taken by an earlier entry of `{key}`; names are unique')
        seen.setdefault(name.casefold(), name)


def _schemes(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    model = data.get("model")
    places: list[tuple[KeyPath, dict[str, Any], tuple[str, ...]]] = []
    if isinstance(model, dict):
        places.append((("model",), model, MODEL_SCHEMES))
    if isinstance(update := data.get("update"), dict):
        places.append((("update",), update, UPDATE_SCHEMES))
    places += [(("data", number), entry, DATA_SCHEMES) for number, entry in _tables(data, "data")]
    for number, entry in question_sets(data):
        places.append((("evaluate", "conversations", number), entry, DATA_SCHEMES))
    for path, table, schemes in places:
        known = (*schemes, *components.names("source"))
        for key in ("source", "fallback"):
            spec = table.get(key)
            scheme, colon, _ = spec.partition(":") if isinstance(spec, str) else ("", "", "")
            if colon and scheme not in known:
                yield Fault((*path, key), f'there is no scheme "{scheme}"{suggestion(scheme, known)}')


def _seeds(data: Mapping[str, Any]) -> Iterator[Fault]:
    named = data.get("seeds")
    seeds = named if isinstance(named, list) else []
    for number, seed in enumerate(seeds):
        if seed in seeds[:number]:
            yield Fault(("seeds", number), f"seed {seed} stands there twice; a repeated seed adds no information")


def _tasks(data: Mapping[str, Any]) -> Iterator[Fault]:
    evaluate = data.get("evaluate")
    tasks = evaluate.get("tasks") if isinstance(evaluate, dict) else None
    seen: list[Any] = []
    for number, task in enumerate(tasks if isinstance(tasks, list) else []):
        source = task.get("source") if isinstance(task, dict) else task
        if isinstance(source, str) and source in seen:
            yield Fault(("evaluate", "tasks", number), f'task "{source}" stands there twice')
        seen.append(source)


def _code(data: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    """Tasks that run what the model writes, where the recipe does not allow it."""
    evaluate = data.get("evaluate")
    if isinstance(evaluate, dict) and evaluate.get("allow_code_execution") is True:
        return
    tables: list[tuple[KeyPath, Any]] = [(("evaluate",), evaluate)]
    tables += [(("scorers", name), scorer) for name, scorer in _scorers(data).items()]
    for path, table in tables:
        tasks = table.get("tasks") if isinstance(table, dict) else None
        for number, task in enumerate(tasks if isinstance(tasks, list) else []):
            source = task.get("source") if isinstance(task, dict) else task
            if isinstance(source, str) and _runs_code(source, base_dir):
                reason = (
                    "runs programs that the model writes; set `allow_code_execution = true` in [evaluate] to let it"
                )
                yield Fault((*path, "tasks", number), f'task "{source}" {reason}')


def _runs_code(source: str, base_dir: Path) -> bool:
    if not source.startswith("file:"):
        return source.removeprefix("pypi:").startswith(_CODE_TASKS)
    try:
        text = (base_dir / source.removeprefix("file:")).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False  # told when the task is looked for
    return _CODE_MARKS.search(text) is not None


def _component(
    table: Mapping[str, Any], kind: Kind, path: KeyPath, components: Components
) -> tuple[Component | None, list[Fault]]:
    """The component that `kind` names, and what is wrong with that name and the parameters beside it."""
    name = table.get("kind")
    if not isinstance(name, str):
        return None, [Fault((*path, "kind"), f"missing; allowed: {', '.join(components.names(kind))}")] * (name is None)
    try:
        component = components.get(kind, name)
    except UserError as error:
        return None, [Fault((*path, "kind"), str(error))]
    params = {key: value for key, value in table.items() if key not in _BESIDE_PARAMS[kind]}
    try:
        component.params.model_validate_json(json.dumps(params, default=str))
    except ValidationError as error:
        return component, faults_of(error, component.params, params, path)
    except Exception as error:
        if raises_plugin_errors():
            raise
        return component, [Fault(path, f"{component.label} broke while it checked its parameters: {cause(error)}")]
    return component, []


def _scorer(table: Mapping[str, Any], path: KeyPath, components: Components) -> Iterator[Fault]:
    scorer, faults = _component(table, "scorer", path, components)
    yield from faults
    if scorer is None:
        return
    yield from source_checks(scorer, table.get("source"), path)


def _arm(arm: Mapping[str, Any], path: KeyPath, data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    yield from _training(arm, path)
    yield from _pruning(arm, path, data, components)
    named = arm.get("scorer")
    scorers = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    for number, name in enumerate(scorers):
        if isinstance(name, str) and name not in _scorers(data):
            place = (*path, "scorer", number) if isinstance(named, list) else (*path, "scorer")
            yield Fault(place, f"there is no [scorers.{name}]{suggestion(name, _scorers(data))}")
    select = arm.get("select")
    if not isinstance(select, dict):
        return
    policy, faults = _component(select, "policy", (*path, "select"), components)
    yield from faults
    if policy is None:
        return
    yield from ranking_checks(policy, scorers, path, given=named is not None)
    known = [entry["name"] for _, entry in _tables(data, "data") if isinstance(entry.get("name"), str)]
    yield from ranked_on_checks(policy, arm.get("ranked_on"), path, known)
    like = select.get("like")
    if policy.reads_selection and isinstance(like, str) and like not in _arm_names(data):
        if like in RESERVED_ARMS:
            reason = f'"{like}" selects nothing; name an arm with a policy'
        else:
            reason = f'there is no arm "{like}"{suggestion(like, _arm_names(data))}'
        yield Fault((*path, "select", "like"), reason)


def _training(arm: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    action, keys, recover = arm.get("action"), arm.get("train"), arm.get("recover")
    if keys and action in _UNTRAINED:
        yield Fault((*path, "train"), _UNTRAINED[action])
    elif isinstance(keys, dict):
        yield from _train_keys(keys, (*path, "train"))
    if recover is not None and action != "prune":
        yield Fault((*path, "recover"), 'only an arm with `action = "prune"` recovers; leave `recover` out')
    elif isinstance(recover, dict):
        yield from _train_keys(recover, (*path, "recover"))


def _train_keys(keys: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    try:
        TrainSettings.model_validate_json(json.dumps(keys, default=str))
    except ValidationError as error:
        yield from faults_of(error, TrainSettings, keys, path)
    if "milestones" in keys:
        yield Fault((*path, "milestones"), "milestones belong to the reference training; set them in [train]")


def _pruning(arm: Mapping[str, Any], path: KeyPath, data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Whether an arm that prunes reads scores of whole blocks."""
    if arm.get("action") != "prune":
        return
    layers = data.get("layers") if isinstance(data.get("layers"), dict) else {}
    assert isinstance(layers, dict)
    if layers.get("head"):
        yield Fault(("layers", "head"), "blocks are pruned, and the head is none; leave it out, or the arms that prune")
    named = arm.get("scorer")
    for name in [named] if isinstance(named, str) else named if isinstance(named, list) else []:
        table = _scorers(data).get(name) if isinstance(name, str) else None
        kind = table.get("kind") if isinstance(table, dict) else None
        if kind in components.names("scorer") and layers.get("unit") != "block":
            component = components.get("scorer", kind)
            if component.unit != "block":
                yield Fault(
                    (*path, "scorer"),
                    f'"{name}" does not score whole blocks, which is what `prune` removes; set layers.unit = "block"',
                )


def _circles(arms: Mapping[int, dict[str, Any]]) -> Iterator[Fault]:
    named = {number: arm for number, arm in arms.items() if isinstance(arm.get("name"), str)}
    if len({arm["name"] for arm in named.values()}) < len(named):
        return  # a fault of its own, told already; whom an arm follows cannot be said before it is mended
    likes = {
        arm["name"]: arm["select"]["like"]
        for arm in named.values()
        if isinstance(arm.get("select"), dict) and isinstance(arm["select"].get("like"), str)
    }
    for number, arm in named.items():
        chain = [arm["name"]]
        while chain[-1] in likes and likes[chain[-1]] not in chain:
            chain.append(likes[chain[-1]])
        if likes.get(chain[-1]) == chain[0]:
            way = " -> ".join(f'"{name}"' for name in [*chain, chain[0]])
            yield Fault(("arms", number, "select", "like"), f"arms follow one another in a circle: {way}")


def _baseline(data: Mapping[str, Any]) -> Iterator[Fault]:
    analyze = data.get("analyze")
    baseline = analyze.get("baseline") if isinstance(analyze, dict) else None
    known = [*RESERVED_ARMS, *_arm_names(data)]
    if isinstance(baseline, str) and baseline not in known:
        yield Fault(("analyze", "baseline"), f'there is no arm "{baseline}"{suggestion(baseline, known)}')
