"""Grids: an entry with lists of values is expanded to one entry for each combination, before anything is checked.

`grid` in an entry of `[[arms]]`, `[[data]]` or `[scorers]` repeats keys of the entry, each with a list of values. The
entry is copied for every combination, and the name of each copy ends with its values: `ila` with
`grid.select.fraction = [0.1, 0.3]` is `ila-0.1` and `ila-0.3`. An arm that names an entry with a grid, in `scorer`,
`ranked_on` or `select.like`, varies with it. Copies that differ in one number are recorded in `sweeps`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, NamedTuple

from layersig.recipe.checks.values import list_at, table_at, tables_at
from layersig.recipe.faults import Fault, dotted, shown
from layersig.recipe.positions import KeyPath

MOST = 1000
"""Largest number of entries that the grids of one section may expand to."""

_REFERENCES: Mapping[KeyPath, str] = {("scorer",): "scorers", ("ranked_on",): "data", ("select", "like"): "arms"}
"""Keys of an arm that refer to entries, and the section of those entries."""
_LIKE: KeyPath = ("select", "like")


class GridExpansion(NamedTuple):
    """The result of expanding grids.

    Attributes:
        faults: Faults of the grids, at paths as written.
        broken: Paths, as written, of entries with a faulty grid.
        written: Path as written of every entry, and of every value from a grid.
    """

    faults: list[Fault]
    broken: frozenset[KeyPath]
    written: Mapping[KeyPath, KeyPath]

    def as_written(self, path: KeyPath) -> KeyPath:
        """The path, in the recipe as written, of the value at a path of the expanded recipe."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.written:
                return (*self.written[path[:length]], *path[length:])
        return path

    def told(self, faults: Iterable[Fault]) -> list[Fault]:
        """Faults found after the expansion, at paths as written, without those of entries with a faulty grid.

        A fault of several values of one key is reported once, at the key.
        """
        written = {(self.as_written(fault.path), fault.message): fault for fault in faults}
        times = Counter((path[:-1], message) for path, message in written if _is_value(path))
        return [
            replace(fault, path=path[:-1] if _is_value(path) and times[path[:-1], message] > 1 else path)
            for (path, message), fault in written.items()
            if path[:2] not in self.broken
        ]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One key that varies: its entry, and its values."""

    section: str
    entry: str
    key: KeyPath
    values: tuple[Any, ...]

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return len(self.values) > 1 and all(isinstance(each, int | float) for each in self.values)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a section as written: its position, values and name, and the axes of its grid."""

    section: str
    place: str | int
    table: dict[str, Any]
    name: str
    own: tuple[_Axis, ...]

    @property
    def path(self) -> KeyPath:
        """The path of the entry as written."""
        return self.section, self.place


def expand(data: dict[str, Any]) -> GridExpansion:
    """Replace entries with a grid by their copies, in place.

    Args:
        data: The raw values of a recipe, valid or not.
    """
    return _Expansion(data).run()


class _Expansion:
    """The state of one expansion."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.faults: list[Fault] = []
        self.broken: set[KeyPath] = set()
        self.written: dict[KeyPath, KeyPath] = {}
        self.entries: dict[tuple[str, str], _Entry] = {}
        self.sweeps: list[tuple[dict[str, Any], KeyPath]] = []
        self._axes_of: dict[KeyPath, tuple[_Axis, ...]] = {}

    def run(self) -> GridExpansion:
        found = {section: list(self._entries(section)) for section in ("data", "scorers", "arms")}
        for entry in (each for entries in found.values() for each in entries):
            self.entries.setdefault((entry.section, entry.name), entry)
        if any(entry.own for entries in found.values() for entry in entries):
            for section, entries in found.items():
                self._expand(section, entries)
            self._primary()
            self._contrasts()
            self._record()
        return GridExpansion(self.faults, frozenset(self.broken), self.written)

    def _entries(self, section: str) -> Iterator[_Entry]:
        tables = table_at(self.data, section).items() if section == "scorers" else tables_at(self.data, section)
        for place, table in tables:
            name = place if section == "scorers" else table.get("name") if isinstance(table, dict) else None
            if isinstance(table, dict) and isinstance(name, str):
                yield _Entry(section, place, table, name, tuple(self._axes(section, place, name, table)))

    def _axes(self, section: str, place: str | int, name: str, table: Mapping[str, Any]) -> Iterator[_Axis]:
        if "grid" not in table:
            return
        path: KeyPath = (section, place, "grid")
        known = len(self.faults)
        leaves = list(_leaves(table["grid"], ()))
        if not leaves:
            self.faults.append(
                Fault(path, "must be a table of keys with lists of values, such as `limit = [100, 200]`")
            )
        for key, values in leaves:
            self.faults += _leaf_faults(table, key, values, (*path, *key))
        if len(self.faults) > known:
            self.broken.add((section, place))
            return
        yield from (_Axis(section, name, key, tuple(values)) for key, values in leaves)

    def axes(self, entry: _Entry) -> tuple[_Axis, ...]:
        """The axes that an entry varies over: its own, then those of the entries it refers to; each once."""
        known, left, seen = self._axes_of, [entry], {entry.path}
        while left:  # a loop, not a recursion: arms may refer to one another in a long chain, or by mistake in a circle
            each = left[-1]
            named = [other for _, other in self._named(each)]
            if ahead := [other for other in named if other.path not in known and other.path not in seen]:
                left += ahead
                seen |= {other.path for other in ahead}
                continue
            left.pop()
            of_others = (axis for other in named for axis in known.get(other.path, other.own))
            known.setdefault(each.path, tuple(dict.fromkeys((*each.own, *of_others))))
        return known[entry.path]

    def _named(self, entry: _Entry) -> Iterator[tuple[KeyPath, _Entry]]:
        """The entries that an arm refers to, each with the key of the reference."""
        if entry.section != "arms":
            return
        for key, section in _REFERENCES.items():
            name = _at(entry.table, key)
            found = self.entries.get((section, name)) if isinstance(name, str) else None
            if found is not None and found is not entry:
                yield key, found

    def _expand(self, section: str, entries: list[_Entry]) -> None:
        varied = {entry.place: axes for entry in entries if (axes := self.axes(entry))}
        if not varied:
            return
        total = sum(prod(len(axis.values) for axis in axes) for axes in varied.values())
        if total > MOST:
            self.faults.append(
                Fault(
                    (section,),
                    f"the grids expand to {total} entries; at most {MOST} are possible, so give fewer values",
                )
            )
            self.broken |= {entry.path for entry in entries}
            return
        known = {entry.place: entry for entry in entries}
        copies: list[tuple[str, dict[str, Any]]] = []
        old = table_at(self.data, section).items() if section == "scorers" else enumerate(list_at(self.data, section))
        for place, table in old:
            if place not in varied:
                self._keep(section, str(place), table, place, copies)
                continue
            axes = varied[place]
            for chosen in product(*(range(len(axis.values)) for axis in axes)):
                choice = dict(zip(axes, chosen, strict=True))
                self._copy(known[place], choice, copies)
            self._sweeps(known[place], axes)
        self.data[section] = dict(copies) if section == "scorers" else [table for _, table in copies]

    def _keep(self, section: str, name: str, table: Any, place: str | int, copies: list[tuple[str, Any]]) -> None:
        if section != "scorers":
            self.written[section, len(copies)] = (section, place)
        elif any(name == each for each, _ in copies):
            self.faults.append(_taken(section, place, name))
        copies.append((name, table))

    def _copy(self, entry: _Entry, choice: Mapping[_Axis, int], copies: list[tuple[str, dict[str, Any]]]) -> None:
        name = self._member(entry, choice)
        place: str | int = name if entry.section == "scorers" else len(copies)
        if entry.section == "scorers" and any(name == each for each, _ in copies):
            self.faults.append(_taken(entry.section, entry.place, name))
        table = deepcopy({key: value for key, value in entry.table.items() if key != "grid"})
        self.written[entry.section, place] = entry.path
        if entry.section != "scorers":
            table["name"] = name
        for axis in entry.own:
            _set(table, axis.key, axis.values[choice[axis]])
            self.written[entry.section, place, *axis.key] = (*entry.path, "grid", *axis.key, choice[axis])
        for key, named in self._named(entry):
            _set(table, key, self._member(named, choice))
        copies.append((name, table))

    def _member(self, entry: _Entry, choice: Mapping[_Axis, int]) -> str:
        """The name of one copy."""
        return f"{entry.name}{self._suffix(entry, choice)}"

    def _suffix(self, entry: _Entry, choice: Mapping[_Axis, int]) -> str:
        return "".join(f"-{_text(axis.values[choice[axis]])}" for axis in self.axes(entry) if axis in choice)

    def _sweeps(self, entry: _Entry, axes: tuple[_Axis, ...]) -> None:
        """Record the copies that differ in one number. A control is a point of its arm's curve, not a curve."""
        if entry.section == "scorers" or _at(entry.table, _LIKE) is not None:
            return
        for axis in axes:
            if not axis.numeric:
                continue
            others = [other for other in axes if other != axis]
            order = sorted(range(len(axis.values)), key=axis.values.__getitem__)
            for chosen in product(*(range(len(other.values)) for other in others)):
                fixed = dict(zip(others, chosen, strict=True))
                own = axis.section == entry.section and axis.entry == entry.name
                sweep = {
                    "name": f"{entry.name}.{axis.key[-1]}{self._suffix(entry, fixed)}",
                    "of": entry.section,
                    "quantity": dotted(axis.key if own else (axis.section, axis.entry, *axis.key)),
                    "entries": [self._member(entry, {**fixed, axis: number}) for number in order],
                    "values": [axis.values[number] for number in order],
                }
                self.sweeps.append((sweep, (*entry.path, "grid")))

    def _primary(self) -> None:
        """Replace a primary arm with a grid by all its copies."""
        primary = table_at(self.data, "analyze").get("primary")
        if not isinstance(primary, list):
            return
        named: list[Any] = []
        for number, name in enumerate(primary):
            for copy in [copy for copy, _ in self._copies(name)] if isinstance(name, str) else [name]:
                self.written["analyze", "primary", len(named)] = ("analyze", "primary", number)
                named.append(copy)
        self.data["analyze"]["primary"] = named

    def _contrasts(self) -> None:
        """Replace a contrast of arms with grids by every pair of copies that agree in the keys that vary in both."""
        pairs = table_at(self.data, "analyze").get("contrasts")
        if not isinstance(pairs, list):
            return
        named: list[Any] = []
        for number, pair in enumerate(pairs):
            whole = isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
            for copies in self._pairs(*pair) if whole else [pair]:
                self.written["analyze", "contrasts", len(named)] = ("analyze", "contrasts", number)
                named.append(copies)
        self.data["analyze"]["contrasts"] = named

    def _pairs(self, first: str, second: str) -> Iterator[list[str]]:
        for one, values in self._copies(first):
            for other, others in self._copies(second):
                if all(others[key] == values[key] for key in values.keys() & others.keys()):
                    yield [one, other]

    def _copies(self, name: str) -> Iterator[tuple[str, Mapping[KeyPath, Any]]]:
        """The copies of an arm by name, with their values of the varying keys; without a grid, the arm alone."""
        entry = self.entries.get(("arms", name))
        axes = self.axes(entry) if entry is not None else ()
        for chosen in product(*(range(len(axis.values)) for axis in axes)):
            choice = dict(zip(axes, chosen, strict=True))
            copy = name if entry is None else self._member(entry, choice)
            yield copy, {axis.key: axis.values[number] for axis, number in choice.items()}

    def _record(self) -> None:
        if not self.sweeps or not isinstance(self.data.get("sweeps", []), list):
            return
        recorded = self.data.setdefault("sweeps", [])
        for sweep, path in self.sweeps:
            self.written["sweeps", len(recorded)] = path
            recorded.append(sweep)


def _is_value(path: KeyPath) -> bool:
    """Whether a path as written points to a value in a grid."""
    return path[2:3] == ("grid",) and isinstance(path[-1], int)


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
    if _at(table, key) is not None:
        yield Fault(path, f"`{dotted(key)}` is given in the entry too; remove it there, or here")
    elif not all(isinstance(_at(table, key[:length]), dict | None) for length in range(1, len(key))):
        yield Fault(path, f"`{dotted(key)}` cannot be set in the entry: one of its parts is a value, not a table")
    seen: set[str] = set()
    for number, value in enumerate(values):
        text = _text(value) if isinstance(value, str | int | float) else None
        if text is None:
            yield Fault((*path, number), f"must be a number, true, false or a string; got {shown(value)}")
        elif text in seen:
            yield Fault(
                (*path, number), f"{shown(value)} is given twice, or gives a copy the same name as an earlier value"
            )
        seen.add(text or "")


def _taken(section: str, place: str | int, name: str) -> Fault:
    return Fault((section, place), f'"{name}" is taken by an earlier entry of `{section}`; names are unique')


def _text(value: str | float) -> str:
    """A value as written in a name."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}".replace("+", "") if isinstance(value, float) else str(value)


def _at(table: Mapping[str, Any], key: KeyPath) -> Any:
    node: Any = table
    for part in key:
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _set(table: dict[str, Any], key: KeyPath, value: Any) -> None:
    for part in key[:-1]:
        table = table.setdefault(str(part), {})
    table[str(key[-1])] = value
