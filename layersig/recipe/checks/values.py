"""Access to the raw values of a recipe, valid or not: values of another shape than asked for are left out."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import is_control

_LARGEST = 1 << 63
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")


def table_at(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The table at a key."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def list_at(data: Mapping[str, Any], key: str) -> list[Any]:
    """The list at a key."""
    value = data.get(key)
    return value if isinstance(value, list) else []


def tables_at(data: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The tables in the list at a key, with their numbers."""
    for number, entry in enumerate(list_at(data, key)):
        if isinstance(entry, dict):
            yield number, entry


def one_or_more(value: Any) -> list[Any]:
    """The entries of a key that takes a string or a list of them."""
    return [value] if isinstance(value, str) else value if isinstance(value, list) else []


def arm_names(data: Mapping[str, Any]) -> list[str]:
    """The names of `[[arms]]`."""
    return [arm["name"] for _, arm in tables_at(data, "arms") if isinstance(arm.get("name"), str)]


def controlled_arms(data: Mapping[str, Any]) -> list[str]:
    """The names of the arms that get controls: the primary ones, or all whose scorers read the model."""
    analyze = table_at(data, "analyze")
    controls, primary = analyze.get("controls", True), analyze.get("primary")
    if controls is False:
        return []
    scored = [arm for _, arm in tables_at(data, "arms") if arm.get("scorer") is not None]
    names = [arm.get("name") for arm in scored]
    chosen = [name for name in names if name in primary] if isinstance(primary, list) else names[:1]
    if controls == "all":
        scorers = table_at(data, "scorers")
        chosen += [
            arm.get("name")
            for arm in scored
            if not is_control(
                table_at(arm, "select").get("kind"),
                {str(table_at(scorers, str(name)).get("kind")) for name in one_or_more(arm["scorer"])},
            )
        ]
    return list(dict.fromkeys(name for name in chosen if isinstance(name, str)))


def unusable_text(value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Faults of keys and strings with characters that no file can hold; they have to be fixed first."""
    if isinstance(value, str) and (found := _UNUSABLE.search(value)):
        yield Fault(path, f"must not contain the character U+{ord(found.group()):04X}")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from unusable_text(key, (*path, key))
            yield from unusable_text(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from unusable_text(each, (*path, number))


def strange_values(value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Faults of values that are valid TOML, but that no key of a recipe can have."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from strange_values(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from strange_values(each, (*path, number))
    elif isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        yield Fault(path, "must fit into 64 bits; got a larger number")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(path, f"must be a finite number; got {value}")
    elif isinstance(value, datetime.date | datetime.time):
        yield Fault(path, f'must not be a date or time; write "{value}" if a string is meant')
