"""Overrides: `key.sub=value` arguments, applied to a recipe before it is checked."""

from __future__ import annotations

import datetime
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from layersig.recipe.faults import Fault, Origins, dotted, shown
from layersig.recipe.nesting import DEEPEST, LONGEST_WORD, out_of_bounds
from layersig.recipe.positions import KeyPath

_LOCAL = ("path:", "file:", "untrained:path:")


class OverrideResult(NamedTuple):
    """The origins of keys after overrides were applied, and the overrides that could not be."""

    origins: Origins
    faults: list[Fault]


def apply(data: dict[str, Any], overrides: Sequence[str], base_dir: Path, origins: Origins) -> OverrideResult:
    """Apply overrides to `data`, in place. A list is replaced as a unit, not merged.

    Args:
        data: The recipe as read.
        overrides: `a.b=c`; entries of lists by number or name
            (`data.0.source=file:x.jsonl`, `arms.ila-30.select.fraction=0.5`). A value that is not valid TOML is
            taken as a string.
        base_dir: Folder of the recipe. Paths in an override are relative to the working directory, and are rewritten
            relative to this folder, so that the resulting recipe does not depend on the working directory.
        origins: Origins of the keys before.
    """
    faults: list[Fault] = []
    for override in overrides:
        try:
            keys, value = _parse(override)
            made = _assign(data, keys, _rebased(value, base_dir, files=keys[0] == "plugins"))
        except ValueError as error:
            faults.append(Fault((), str(error), override))
        else:
            origins = origins.overlaid(made, override)
    return OverrideResult(origins, faults)


def _parse(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise ValueError("write `key.sub=value`, such as `train.rank=8` or `data.0.source=file:x.jsonl`")
    if len(path) > DEEPEST or max(map(len, path)) > LONGEST_WORD:
        raise ValueError("no key of a recipe is that long")
    return path, _value(text.strip())


def _value(text: str) -> Any:
    toml = f"value = {text}"
    try:
        found = {} if out_of_bounds(toml) else tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        return text
    if "value" not in found:
        return text
    value = found["value"]
    # No key of a recipe is a date, but a name may look like one. A line break would add a second key.
    return text if len(found) > 1 or isinstance(value, datetime.date | datetime.time) else value


def _assign(data: dict[str, Any], keys: Sequence[str], value: Any) -> KeyPath:
    """Set a value; returns the outermost key that was created for it, or the key itself."""
    node: Any = data
    path: KeyPath = ()
    made: KeyPath = ()
    for number, text in enumerate(keys, start=1):
        key: str | int = text
        if isinstance(node, list):
            key = _index(text, node, path)
        elif not isinstance(node, dict):
            raise ValueError(f"`{dotted(path)}` is {shown(node)}, so it has no `{text}`")
        path = (*path, key)
        if isinstance(node, dict) and key not in node:
            node[key] = {}
            made = made or path
        if number == len(keys):
            node[key] = value
        node = node[key]
    return made or path


def _index(text: str, entries: list[Any], path: KeyPath) -> int:
    """The number of an entry that is named by its number or its `name`."""
    if text.isdecimal() and int(text) < len(entries):
        return int(text)
    names = [each.get("name") if isinstance(each, dict) else None for each in entries]
    if names.count(text) == 1:
        return names.index(text)
    numbers = f"0 to {len(entries) - 1}" if entries else "it has none"
    named = f" or its name ({', '.join(map(str, names))})" if names and None not in names else ""
    raise ValueError(f"`{dotted(path)}` is a list: name an entry by its number ({numbers}){named}, got `{text}`")


def _rebased(value: Any, base_dir: Path, *, files: bool) -> Any:
    if isinstance(value, list):
        return [_rebased(each, base_dir, files=files) for each in value]
    if isinstance(value, Mapping):
        return {key: _rebased(each, base_dir, files=files) for key, each in value.items()}
    if isinstance(value, str) and (files or value.startswith(_LOCAL)):
        scheme = "" if files else next(each for each in _LOCAL if value.startswith(each))
        return f"{scheme}{_relative(value.removeprefix(scheme), base_dir)}"
    return value


def _relative(place: str, base_dir: Path) -> str:
    path = Path(os.path.expanduser(place))  # noqa: PTH111  # Path.expanduser raises where there is no such user
    return path.as_posix() if path.is_absolute() else Path(os.path.relpath(path, base_dir)).as_posix()
