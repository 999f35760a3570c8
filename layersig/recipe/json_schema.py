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


def json_schema(components: Components | None = None) -> _Schema:
    """The schema that editors complete and check recipes with; equal components give an equal schema.

    Args:
        components: What recipes may name; default: built-in and installed components. One that cannot be loaded is
            left out.
    """
    known = installed() if components is None else components
    schema = Recipe.model_json_schema()
    tables = schema["$defs"]
    tables["Choice"] = _one_of("policy", tables["Choice"], known, tables)
    tables["ScorerChoice"] = _one_of("scorer", tables["ScorerChoice"], known, tables)
    keys = tables["Arm"]["properties"]["train"]
    tables["Arm"]["properties"]["train"] = {"$ref": "#/$defs/TrainSettings", "description": keys["description"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _one_of(kind: Kind, choice: _Schema, known: Components, tables: dict[str, _Schema]) -> _Schema:
    branches = []
    for component in _loadable(kind, known):
        params = component.params.model_json_schema(ref_template=f"#/$defs/{kind}.{component.name}.{{model}}")
        tables.update({f"{kind}.{component.name}.{name}": table for name, table in params.pop("$defs", {}).items()})
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


def _loadable(kind: Kind, known: Components) -> Iterator[Component]:
    for name in known.names(kind):
        try:
            yield known.get(kind, name)
        except UserError:
            continue
