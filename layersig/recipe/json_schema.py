"""The JSON schema of recipes, with the parameters of every registered component under its `kind`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from layersig.errors import UserError
from layersig.plugin.components import Component, Kind
from layersig.plugin.manager import installed
from layersig.plugin.table import Components
from layersig.recipe.schema import Recipe

_Schema = dict[str, Any]

_SWEPT: _Schema = {"required": ["grid"]}


def json_schema(components: Components | None = None) -> _Schema:
    """The schema with which editors complete and check recipes; equal components give an equal schema.

    Args:
        components: The components that recipes may name; default: built-in and installed ones. Components that cannot
            be loaded are left out.
    """
    known = installed() if components is None else components
    schema = Recipe.model_json_schema()
    tables = schema["$defs"]
    tables["Choice"] = _one_of("policy", tables["Choice"], known, tables)
    tables["ScorerChoice"] = _one_of("scorer", tables["ScorerChoice"], known, tables)
    _add_train("method", tables["TrainSettings"], known, tables)
    _add_train("objective", tables["TrainSettings"], known, tables)
    tables["swept.Choice"] = {**tables["Choice"], "oneOf": [_in_part(each) for each in tables["Choice"]["oneOf"]]}
    tables["ScorerChoice"]["oneOf"] = [_unless_swept(each) for each in tables["ScorerChoice"]["oneOf"]]
    arm, keys = tables["Arm"], tables["Arm"]["properties"]
    keys["train"] = {"$ref": "#/$defs/TrainSettings", "description": keys["train"]["description"]}
    keys["select"] = {"$ref": "#/$defs/swept.Choice", "description": keys["select"]["description"]}
    arm |= {"if": _SWEPT, "else": {"properties": {"select": {"$ref": "#/$defs/Choice"}}}}
    tables["shared.ModelSettings"] = {key: value for key, value in tables["ModelSettings"].items() if key != "required"}
    model = schema["properties"]["model"]
    schema["properties"]["model"] = {**model, "$ref": "#/$defs/shared.ModelSettings"}
    schema["required"].remove("model")
    one = {"required": ["model"], "properties": {"model": {"$ref": "#/$defs/ModelSettings"}}}
    schema |= {"if": {"required": ["models"]}, "else": one}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _one_of(kind: Kind, choice: _Schema, known: Components, tables: dict[str, _Schema]) -> _Schema:
    branches = []
    for component in _loadable(kind, known):
        params = _params(component, tables)
        named = {"const": component.name, "description": choice["properties"]["kind"]["description"]}
        branches.append(
            {
                "title": component.name,
                "description": component.summary,
                "type": "object",
                "properties": {**choice["properties"], "kind": named, **params.get("properties", {})},
                "required": ["kind", *params.get("required", [])],
                "additionalProperties": False,
            }
        )
    return {"description": choice["description"], "oneOf": branches}


def _add_train(kind: Kind, train: _Schema, known: Components, tables: dict[str, _Schema]) -> None:
    """The names of tuning methods or objectives, and the table of each that has parameters."""
    components = list(_loadable(kind, known))
    keys = train["properties"]
    keys[kind] |= {"enum": [each.name for each in components]}
    for each in components:
        if each.params.model_fields and each.name not in keys:
            about = f'Parameters of `{kind} = "{each.name}"`.'
            keys[each.name] = {**_params(each, tables), "description": about}
    train["additionalProperties"] = False


def _params(component: Component, tables: dict[str, _Schema]) -> _Schema:
    """The schema of a component's parameters, whose own tables go to `tables`."""
    title = f"{component.kind}.{component.name}"
    params = component.params.model_json_schema(ref_template=f"#/$defs/{title}.{{model}}")
    tables.update({f"{title}.{name}": table for name, table in params.pop("$defs", {}).items()})
    return params


def _in_part(branch: _Schema) -> _Schema:
    """A component whose required parameters may come from a grid."""
    return {**branch, "required": ["kind"]}


def _unless_swept(branch: _Schema) -> _Schema:
    """A component whose required parameters may come from the grid in its table."""
    if branch["required"] == ["kind"]:
        return branch
    return {**_in_part(branch), "if": _SWEPT, "else": {"required": branch["required"]}}


def _loadable(kind: Kind, known: Components) -> Iterator[Component]:
    for name in known.names(kind):
        try:
            yield known.get(kind, name)
        except UserError:
            continue
