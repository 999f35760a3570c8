"""What the shell completes besides verbs and options: keys of recipes and their values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from pydantic import BaseModel

    from layersig.plugin.components import Kind

_KINDS: Mapping[str, Kind] = {"scorers": "scorer", "arms": "policy"}
"""The components that a `kind` names, by the table of the recipe."""
_NAMED: Mapping[str, Kind] = {"train.method": "method", "train.objective": "objective"}
"""The components that other keys name."""


class Override(click.ParamType[str]):
    """`KEY.SUB=VALUE`."""

    name = "override"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """What was typed."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Keys, each with an equals sign behind it; after that, the values where they are few."""
        key, equals, _ = incomplete.partition("=")
        recipe = _read(ctx.params.get("recipe"))
        found = (f"{key}={value}" for value in _values(key)) if equals else (f"{each}=" for each in _keys(recipe))
        return [CompletionItem(each) for each in found if each.startswith(incomplete)]


def complete_tracker(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the trackers that installed plugins offer."""
    from layersig.plugin.manager import offered_trackers

    return [each.name for each in offered_trackers() if each.name.startswith(incomplete)]


def _read(recipe: object) -> Mapping[str, Any]:
    """The values of the recipe on the command line; none where it cannot be read."""
    try:
        return tomllib.loads(Path(str(recipe)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _keys(recipe: Mapping[str, Any]) -> Iterator[str]:
    """Keys of the schema; entries of lists and scorers as the recipe names them."""
    from layersig.recipe.schema import Arm, DataSettings, Recipe, ScorerChoice

    for name, field in Recipe.model_fields.items():
        if (table := _table(field.annotation)) is not None:
            yield from (f"{name}.{key}" for key in table.model_fields)
        elif name not in ("data", "arms", "models", "scorers", "sweeps"):
            yield name
    for table_name, model in (("data", DataSettings), ("arms", Arm)):
        for entry in _tables(recipe.get(table_name)):
            yield from (f"{table_name}.{entry.get('name')}.{key}" for key in {**model.model_fields, **entry})
            select = entry.get("select")
            if isinstance(select, dict):
                yield from (f"{table_name}.{entry.get('name')}.select.{key}" for key in select)
    scorers = recipe.get("scorers")
    for name, choice in scorers.items() if isinstance(scorers, dict) else ():
        yield from (f"scorers.{name}.{key}" for key in {**ScorerChoice.model_fields, **choice})


def _values(key: str) -> Iterable[str]:
    """The values that a key may have, where they are names."""
    from layersig.plugin.manager import installed
    from layersig.recipe.schema import Recipe

    head, *middle, last = key.split(".") if "." in key else ("", key)
    if last == "kind" and head in _KINDS:
        return installed().names(_KINDS[head])
    if key in _NAMED:
        return installed().names(_NAMED[key])
    table = _table(Recipe.model_fields[head].annotation) if head in Recipe.model_fields and not middle else None
    field = table.model_fields.get(last) if table is not None else None
    if field is None:
        return ()
    if field.annotation is bool:
        return ("true", "false")
    return map(str, get_args(field.annotation)) if get_origin(field.annotation) is Literal else ()


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model of a table of the recipe, such as `[train]`; None for anything else."""
    from pydantic import BaseModel

    candidates = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _tables(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))
