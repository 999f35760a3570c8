"""Checks of the components that a recipe names: plugin files, kinds, and their parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from layersig.errors import UserError
from layersig.plugin.components import Component, Kind
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.manager import with_files
from layersig.plugin.table import Components
from layersig.recipe.checks.rankings import source_checks
from layersig.recipe.checks.values import list_at, table_at
from layersig.recipe.faults import Fault, faults_of
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import ScorerChoice

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
    """Faults of scorers: their kind, their parameters and their source."""
    scorers = table_at(data, "scorers")
    for name, choice in scorers.items():
        if isinstance(choice, dict):
            scorer, faults = component(choice, "scorer", ("scorers", name), components)
            yield from faults
            if scorer is not None:
                yield from source_checks(scorer, choice.get("source"), ("scorers", name))
                if choice.get("stream") and not (scorer.reads_data or scorer.seeded):
                    reason = f'scorer "{scorer.name}" draws nothing at random, so a repeat would be equal; remove it'
                    yield Fault(("scorers", name, "stream"), reason)


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
