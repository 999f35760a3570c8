"""What recipes must fulfil about the tuning methods that they name: that there are such, with such parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from layersig.errors import UserError
from layersig.plugin.components import BUILT_IN, Component, Kind
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.table import Components
from layersig.recipe.checks.values import table_at, tables_at
from layersig.recipe.faults import Fault, faults_of, unknown_key
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import TrainSettings, completed


def method_of(table: Mapping[str, Any], data: Mapping[str, Any], components: Components) -> Component | None:
    """The tuning method of a training: its own, or that of `[train]`; None where the name is wrong."""
    name = table.get("method", table_at(data, "train").get("method", "lora"))
    try:
        return components.get("method", name) if isinstance(name, str) else None
    except UserError:
        return None


def method_checks(path: KeyPath, table: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """The method that a training names, and every key that is none of `[train]` but the table of a component.

    Args:
        path: Where the training is written.
        table: Its keys.
        components: What a recipe may name.
    """
    if isinstance(name := table.get("method"), str):
        try:
            method = components.get("method", name)
            if method.origin != BUILT_IN and name in TrainSettings.model_fields:
                yield Fault((*path, "method"), f"{method.label} has the name of a key of [train]; it needs another")
        except UserError as error:
            yield Fault((*path, "method"), str(error))
    owners: dict[str, Kind] = {name: kind for kind in ("objective", "method") for name in components.names(kind)}
    for key, value in table.items():
        if key in TrainSettings.model_fields:
            continue
        if key not in owners:
            yield Fault((*path, key), unknown_key((*path, key), [*TrainSettings.model_fields, *owners]))
        elif not isinstance(value, dict):
            yield Fault((*path, key), f'must be a table: the parameters of {owners[key]} = "{key}"')
        else:
            yield from _params(components, owners[key], key, value, (*path, key))


def _params(components: Components, kind: Kind, name: str, values: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    try:
        owner = components.get(kind, name)
    except UserError as error:
        yield Fault(path, str(error))
        return
    try:
        owner.params.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        yield from faults_of(error, owner.params, values, path)
    except Exception as error:
        if raises_plugin_errors():
            raise
        yield Fault(path, f"{owner.label} failed while it checked its parameters: {cause(error, owner.module)}")


def trainings(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """`[train]`, the `train` of every scorer, and the `train` and `recover` of every arm, with where they stand.

    Tables in those of scorers and arms have the other keys of the same tables in `[train]`.
    """
    shared = table_at(data, "train")
    yield ("train",), shared
    for name, choice in table_at(data, "scorers").items():
        if isinstance(choice, dict):
            yield ("scorers", name, "train"), completed(table_at(choice, "train"), shared)
    for number, arm in tables_at(data, "arms"):
        for key in ("train", "recover"):
            yield ("arms", number, key), completed(table_at(arm, key), shared)
