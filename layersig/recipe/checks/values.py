"""Access to the raw values of a recipe, valid or not: values of another shape than asked for are left out."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema.arms import Selecting, default_primary, with_controls

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


def selecting_arms(data: Mapping[str, Any]) -> list[Selecting]:
    """What the controls of each of `[[arms]]` depend on."""
    scorers = table_at(data, "scorers")
    return [
        Selecting(
            arm["name"],
            table_at(arm, "select"),
            frozenset(str(table_at(scorers, str(name)).get("kind")) for name in one_or_more(arm.get("scorer"))),
        )
        for _, arm in tables_at(data, "arms")
        if isinstance(arm.get("name"), str)
    ]


def primary_arms(data: Mapping[str, Any]) -> list[str]:
    """The names in `analyze.primary`, or its default."""
    primary = table_at(data, "analyze").get("primary")
    if isinstance(primary, list):
        return [name for name in primary if isinstance(name, str)]
    swept = (
        [name for name in list_at(sweep, "entries") if isinstance(name, str)]
        for _, sweep in tables_at(data, "sweeps")
        if sweep.get("of", "arms") == "arms"
    )
    return list(default_primary(selecting_arms(data), swept))


def baseline_arm(data: Mapping[str, Any]) -> object:
    """The name in `analyze.baseline`, or its default."""
    trained = [trains(arm) for _, arm in tables_at(data, "arms")]
    alone = (trained and not any(trained)) or table_at(data, "evaluate").get("all_layers") is False
    return table_at(data, "analyze").get("baseline", "base" if alone else "all-layers")


def trains(arm: Mapping[str, Any]) -> bool:
    """Whether an arm needs a training."""
    return "checkpoint" not in arm and (arm.get("action") != "prune" or arm.get("recover") is not None)


def controlled_arms(data: Mapping[str, Any]) -> list[Selecting]:
    """The arms that get controls."""
    controls = table_at(data, "analyze").get("controls", True)
    return with_controls(selecting_arms(data), primary_arms(data), controls)


def measures(data: Mapping[str, Any]) -> bool:
    """Whether models are measured: arms, or the untouched model and all layers on what `[evaluate]` names."""
    evaluate = table_at(data, "evaluate")
    # Without an endpoint of a judge, conversations are left out.
    judged = list_at(evaluate, "conversations") and "endpoint" in table_at(data, "judge")
    return bool(list_at(data, "arms") or list_at(evaluate, "tasks") or judged)


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
