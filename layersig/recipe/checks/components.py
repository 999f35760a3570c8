"""Checks of the components that a recipe names: plugin files, kinds, parameters, and keys that a scorer never reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from layersig.errors import UserError
from layersig.plugin.components import BUILT_IN, Component, Kind
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.manager import with_files
from layersig.plugin.table import Components, suggestion
from layersig.recipe.checks.rankings import source_checks
from layersig.recipe.checks.tuning import trains_reference
from layersig.recipe.checks.values import list_at, measures, one_or_more, table_at, tables_at
from layersig.recipe.faults import Fault, faults_of
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import CONTROL_KINDS, ScorerChoice
from layersig.recipe.schema.arms import CONTROL_POLICIES

_BESIDE_PARAMS: Mapping[Kind, frozenset[str]] = {
    "scorer": frozenset(ScorerChoice.model_fields),
    "policy": frozenset({"kind"}),
}


class RecipeComponents(NamedTuple):
    """The components that a recipe may name, the plugin files that define some of them, and faults of those files."""

    components: Components
    files: tuple[Path, ...]
    faults: list[Fault]


def plugin_files(data: Mapping[str, Any], base_dir: Path) -> RecipeComponents:
    """Load the plugin files of a recipe. A broken file is a fault; the others are still loaded."""
    files: list[Path] = []
    faults = []
    for number, name in enumerate(list_at(data, "plugins")):
        if not isinstance(name, str):
            continue
        try:
            with_files([base_dir / name])
            files.append(base_dir / name)
        except UserError as error:
            faults.append(Fault(("plugins", number), str(error)))
    return RecipeComponents(with_files(files), tuple(files), faults)


def scorer_checks(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Faults of scorers: kinds, parameters, sources, and what the recipe asks of scorers that do not read it."""
    scorers = table_at(data, "scorers")
    known: dict[str, Component] = {}
    for name, choice in scorers.items():
        if isinstance(choice, dict):
            scorer, faults = component(choice, "scorer", ("scorers", name), components)
            yield from faults
            if scorer is not None:
                known[name] = scorer
                yield from source_checks(scorer, choice.get("source"), ("scorers", name))
                yield from _idle_keys(scorer, choice, ("scorers", name))
    yield from _sharing(data, known)
    yield from _ranked_on(data, known)
    yield from _all_layers(data, components)


def _idle_keys(scorer: Component, choice: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    """Keys that change nothing of a scorer."""
    if choice.get("checkpoint", 1.0) not in (1, 1.0) and "update" not in scorer.needs:
        reason = f'scorer "{scorer.name}" reads no update of a training; remove it'
        yield Fault((*path, "checkpoint"), reason, idle=True)
    # What a plugin draws besides batches of data only its author knows.
    draws = {"data", "gradients"} if scorer.origin == BUILT_IN else {"data", "gradients", "update", "checkpoints"}
    if choice.get("stream") and not (scorer.seeded or (scorer.needs & draws and not _works_on_tasks(scorer, choice))):
        reason = f'scorer "{scorer.name}" draws nothing at random, so a repeat would be equal; remove it'
        yield Fault((*path, "stream"), reason, idle=True)


def _works_on_tasks(scorer: Component, choice: Mapping[str, Any]) -> bool:
    """Whether a scorer is computed on tasks instead of the data set."""
    return "tasks" in scorer.needs and bool(list_at(choice, "tasks"))


def _depends_on_data(scorer: Component, choice: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    return scorer.depends_on_data(on_tasks=_works_on_tasks(scorer, choice), given_update="update" in data)


def _sharing(data: Mapping[str, Any], known: Mapping[str, Component]) -> Iterator[Fault]:
    """Scorers that are declared to be tested, and nothing that their rankings could agree with."""
    scorers = table_at(data, "scorers")
    names = [name for name in list_at(table_at(data, "analyze"), "sharing") if isinstance(name, str)]
    blocks = table_at(data, "layers").get("unit") == "block" or all(each.unit == "block" for each in known.values())
    for number, name in enumerate(names):
        path, scorer = ("analyze", "sharing", number), known.get(name)
        if name not in scorers:
            yield Fault(path, f'there is no scorer "{name}"{suggestion(name, scorers)}')
        elif name in names[:number]:
            yield Fault(path, f'"{name}" is named twice')
        elif scorer is None:
            continue  # its kind is reported
        elif scorer.name in CONTROL_KINDS:
            reason = "ranks without the model and the data; name a scorer that reads them"
            yield Fault(path, f'"{name}" ({scorer.name}) {reason}')
        elif not _depends_on_data(scorer, scorers[name], data):
            # One ranking can still be correlated with another scorer's, which is tested of scores of blocks.
            if len(names) == 1 or not (blocks or scorer.seeded):
                yield Fault(path, f'"{name}": its ranking is the same on every data set; remove it')
        elif len(names) == 1 and len(list(tables_at(data, "data"))) == 1 and not _has_milestones(scorer, scorers[name]):
            reason = (
                "one scorer on one data set has nothing to agree with; add a [[data]], a second value of its "
                "`checkpoint`, or name another scorer"
            )
            yield Fault(("analyze", "sharing"), reason)


def _has_milestones(scorer: Component, choice: Mapping[str, Any]) -> bool:
    return "update" in scorer.needs and len(list_at(choice, "checkpoint")) > 1


def _ranked_on(data: Mapping[str, Any], known: Mapping[str, Component]) -> Iterator[Fault]:
    """Arms that choose among rankings of data sets where there is but one."""
    scorers = table_at(data, "scorers")
    for number, arm in tables_at(data, "arms"):
        read = [name for name in one_or_more(arm.get("scorer")) if isinstance(name, str)]
        # A resolved recipe gives a control the `ranked_on` of its arm, which may read further scorers.
        if arm.get("ranked_on") is None or table_at(arm, "select").get("kind") in CONTROL_POLICIES:
            continue
        if read and all(name in known and not _depends_on_data(known[name], scorers[name], data) for name in read):
            reason = f'the ranking of "{read[0]}" is the same on every data set; remove it'
            yield Fault(("arms", number, "ranked_on"), reason, idle=True)


def _all_layers(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Declared comparisons with `all-layers` where it is not measured."""
    if not measures(data) or (why := _unmeasured(data, components)) is None:
        return
    analyze = table_at(data, "analyze")
    named: list[tuple[KeyPath, Any]] = [
        (("analyze", "primary", number), name) for number, name in enumerate(list_at(analyze, "primary"))
    ]
    for number, pair in enumerate(list_at(analyze, "contrasts")):
        named += [(("analyze", "contrasts", number, place), name) for place, name in enumerate(one_or_more(pair))]
    for path, name in named:
        if name == "all-layers":
            yield Fault(path, f'"all-layers" is not measured: {why}; name another arm')


def _unmeasured(data: Mapping[str, Any], components: Components) -> str | None:
    """Why `all-layers` is not measured; None where it is."""
    if table_at(data, "evaluate").get("all_layers") is False:
        return "evaluate.all_layers is off"
    if trains_reference(data, components):
        return None
    return "no arm is trained, and no scorer reads updates"


def component(
    choice: Mapping[str, Any], kind: Kind, path: KeyPath, components: Components
) -> tuple[Component | None, list[Fault]]:
    """The component that `kind` names, and the faults of that name and of the parameters."""
    name = choice.get("kind")
    if not isinstance(name, str):
        return None, [Fault((*path, "kind"), f"missing; allowed: {', '.join(components.names(kind))}")] * (name is None)
    try:
        found = components.get(kind, name)
    except UserError as error:
        return None, [Fault((*path, "kind"), str(error))]
    params = {key: value for key, value in choice.items() if key not in _BESIDE_PARAMS[kind]}
    try:
        found.params.model_validate_json(json.dumps(params, default=str))
    except ValidationError as error:
        return found, faults_of(error, found.params, params, path)
    except Exception as error:
        if raises_plugin_errors():
            raise
        return found, [
            Fault(path, f"{found.label} failed while it checked its parameters: {cause(error, found.module)}")
        ]
    return found, []
