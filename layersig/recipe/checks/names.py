"""Checks of names: those of data sets, arms and seeds are unique, and schemes of sources are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from layersig.plugin.table import Components, suggestion
from layersig.recipe.checks.judge import question_sets
from layersig.recipe.checks.values import list_at, table_at, tables_at
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import DATA_SCHEMES, MODEL_SCHEMES, RESERVED_ARMS, UPDATE_SCHEMES


def name_checks(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Faults of names of data sets, arms and seeds, and of schemes of sources."""
    yield from _unique(data, "data")
    yield from _unique(data, "arms")
    yield from _unique(data, "sweeps")
    yield from _schemes(data, components)
    yield from _seeds(data)


def _unique(data: Mapping[str, Any], key: str) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for number, entry in tables_at(data, key):
        name = entry.get("name")
        if not isinstance(name, str):
            continue
        if key == "arms" and name in RESERVED_ARMS:
            yield Fault(
                (key, number, "name"), f'"{name}" is reserved for an arm that every study has; choose another name'
            )
        # Names become folders, and some file systems ignore case.
        elif name.casefold() in seen:
            yield Fault((key, number, "name"), f'"{name}" is taken by an earlier entry of `{key}`; names are unique')
        seen.setdefault(name.casefold(), name)


def _schemes(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    places: list[tuple[KeyPath, Mapping[str, Any], tuple[str, ...]]] = [
        (("model",), table_at(data, "model"), MODEL_SCHEMES),
        (("update",), table_at(data, "update"), UPDATE_SCHEMES),
        *((("data", number), entry, DATA_SCHEMES) for number, entry in tables_at(data, "data")),
        *((("evaluate", "conversations", number), entry, DATA_SCHEMES) for number, entry in question_sets(data)),
    ]
    for path, holder, schemes in places:
        known = (*schemes, *components.names("source"))
        for key in ("source", "fallback"):
            spec = holder.get(key)
            scheme, colon, _ = spec.partition(":") if isinstance(spec, str) else ("", "", "")
            if colon and scheme not in known:
                yield Fault((*path, key), f'there is no scheme "{scheme}"{suggestion(scheme, known)}')


def _seeds(data: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[int] = set()
    for number, seed in enumerate(list_at(data, "seeds")):
        if not isinstance(seed, int):
            continue  # reported by the schema
        if seed in seen:
            yield Fault(("seeds", number), f"seed {seed} is given twice; a repeated seed adds no information")
        seen.add(seed)
