"""Entries with a grid as they are written: what varies in them, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from layersig.recipe.faults import Fault, dotted, shown
from layersig.recipe.positions import KeyPath


@dataclass(frozen=True, slots=True)
class Axis:
    """One key that varies: its entry, and its values."""

    section: str
    entry: str
    key: KeyPath
    values: tuple[Any, ...]

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return len(self.values) > 1 and all(
            isinstance(each, int | float) and not isinstance(each, bool) for each in self.values
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a section as written: its position, values and name, and the axes of its grid."""

    section: str
    place: str | int
    table: dict[str, Any]
    name: str
    own: tuple[Axis, ...]

    @property
    def path(self) -> KeyPath:
        """The path of the entry as written."""
        return self.section, self.place


def grid_axes(
    section: str, place: str | int, name: str, table: Mapping[str, Any]
) -> tuple[tuple[Axis, ...], list[Fault]]:
    """The axes of the grid of an entry; none where it has faults.

    Args:
        section: The section of the entry.
        place: Its key or its number there.
        name: Its name.
        table: Its values, with `grid`.
    """
    path: KeyPath = (section, place, "grid")
    leaves = list(_leaves(table["grid"], ()))
    if not leaves:
        return (), [Fault(path, "must be a table of keys with lists of values, such as `limit = [100, 200]`")]
    faults = [fault for key, values in leaves for fault in _leaf_faults(table, key, values, (*path, *key))]
    axes = (Axis(section, name, key, tuple(values)) for key, values in leaves)
    return (() if faults else tuple(axes)), faults


def _leaves(value: Any, key: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, (*key, name))
    elif key:
        yield key, value


def _leaf_faults(table: Mapping[str, Any], key: KeyPath, values: Any, path: KeyPath) -> Iterator[Fault]:
    if not isinstance(values, list) or not values:
        yield Fault(path, f"must be a list of values, one for each copy of the entry; got {shown(values)}")
        return
    if key in {("name",), ("grid",)}:
        yield Fault(path, f"`{key[0]}` cannot vary: the copies are named by the values of the other keys")
        return
    if value_at(table, key) is not None:
        yield Fault(path, f"`{dotted(key)}` is given in the entry too; remove it there, or here")
    elif not all(isinstance(value_at(table, key[:length]), dict | None) for length in range(1, len(key))):
        yield Fault(path, f"`{dotted(key)}` cannot be set in the entry: one of its parts is a value, not a table")
    seen: set[str] = set()
    for number, value in enumerate(values):
        text = value_text(value) if isinstance(value, str | int | float) else None
        if text is None:
            yield Fault((*path, number), f"must be a number, true, false or a string; got {shown(value)}")
        elif text in seen:
            yield Fault(
                (*path, number), f"{shown(value)} is given twice, or gives a copy the same name as an earlier value"
            )
        seen.add(text or "")


def value_text(value: str | float) -> str:
    """A value as written in a name."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}".replace("+", "") if isinstance(value, float) else str(value)


def value_at(table: Mapping[str, Any], key: KeyPath) -> Any:
    """The value of a key in nested tables; None where there is none."""
    node: Any = table
    for part in key:
        node = node.get(part) if isinstance(node, dict) else None
    return node


def set_value(table: dict[str, Any], key: KeyPath, value: Any) -> None:
    """Set a key in nested tables, which are made where they are missing."""
    for part in key[:-1]:
        table = table.setdefault(str(part), {})
    table[str(key[-1])] = value
