"""Grids: an entry with lists of values is expanded to one entry for each combination, before anything is checked.

`grid` in an entry of `[[arms]]`, `[[data]]` or `[scorers]` repeats keys of the entry, each with a list of values. The
entry is copied for every combination, and the name of each copy ends with its values: `ila` with
`grid.select.fraction = [0.1, 0.3]` is `ila-0.1` and `ila-0.3`. An arm that names an entry with a grid, in `scorer`,
`ranked_on` or `select.like`, varies with it. Copies that differ in one number are recorded in `sweeps`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from copy import deepcopy
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any, NamedTuple

from layersig.recipe.checks.values import list_at, table_at, tables_at
from layersig.recipe.faults import Fault, dotted
from layersig.recipe.grid_entries import Axis, Entry, grid_axes, set_value, value_at, value_text
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

    def everywhere(self, path: KeyPath, faulty: Set[KeyPath]) -> bool:
        """Whether a value is faulty in every entry that a grid has made with it."""
        entry, written = self.as_written(path[:2]), self.as_written(path)
        copies = (place for place, origin in self.written.items() if len(place) == 2 and origin == entry)
        places = [(*copy, *path[2:]) for copy in copies]
        return all(place in faulty for place in places if self.as_written(place) == written)

    def placed(self, faults: Iterable[Fault]) -> list[Fault]:
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
        self.entries: dict[tuple[str, str], Entry] = {}
        self.sweeps: list[tuple[dict[str, Any], KeyPath]] = []
        self._axes_of: dict[KeyPath, tuple[Axis, ...]] = {}

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

    def _entries(self, section: str) -> Iterator[Entry]:
        tables = table_at(self.data, section).items() if section == "scorers" else tables_at(self.data, section)
        for place, table in tables:
            name = place if section == "scorers" else table.get("name") if isinstance(table, dict) else None
            if isinstance(table, dict) and isinstance(name, str):
                yield Entry(section, place, table, name, self._axes(section, place, name, table))

    def _axes(self, section: str, place: str | int, name: str, table: Mapping[str, Any]) -> tuple[Axis, ...]:
        if "grid" not in table:
            return ()
        axes, faults = grid_axes(section, place, name, table)
        self.faults += faults
        if faults:
            self.broken.add((section, place))
        return axes

    def axes(self, entry: Entry) -> tuple[Axis, ...]:
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

    def _named(self, entry: Entry) -> Iterator[tuple[KeyPath, Entry]]:
        """The entries that an arm refers to, each with the key of the reference."""
        if entry.section != "arms":
            return
        for key, section in _REFERENCES.items():
            name = value_at(entry.table, key)
            found = self.entries.get((section, name)) if isinstance(name, str) else None
            if found is not None and found is not entry:
                yield key, found

    def _expand(self, section: str, entries: list[Entry]) -> None:
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

    def _copy(self, entry: Entry, choice: Mapping[Axis, int], copies: list[tuple[str, dict[str, Any]]]) -> None:
        name = self._member(entry, choice)
        place: str | int = name if entry.section == "scorers" else len(copies)
        if entry.section == "scorers" and any(name == each for each, _ in copies):
            self.faults.append(_taken(entry.section, entry.place, name))
        table = deepcopy({key: value for key, value in entry.table.items() if key != "grid"})
        self.written[entry.section, place] = entry.path
        if entry.section != "scorers":
            table["name"] = name
        for axis in entry.own:
            set_value(table, axis.key, axis.values[choice[axis]])
            self.written[entry.section, place, *axis.key] = (*entry.path, "grid", *axis.key, choice[axis])
        for key, named in self._named(entry):
            set_value(table, key, self._member(named, choice))
        copies.append((name, table))

    def _member(self, entry: Entry, choice: Mapping[Axis, int]) -> str:
        """The name of one copy."""
        return f"{entry.name}{self._suffix(entry, choice)}"

    def _suffix(self, entry: Entry, choice: Mapping[Axis, int]) -> str:
        return "".join(f"-{value_text(axis.values[choice[axis]])}" for axis in self.axes(entry) if axis in choice)

    def _sweeps(self, entry: Entry, axes: tuple[Axis, ...]) -> None:
        """Record the copies that differ in one number. A control is a point of its arm's curve, not a curve."""
        if entry.section == "scorers" or value_at(entry.table, _LIKE) is not None:
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


def _taken(section: str, place: str | int, name: str) -> Fault:
    return Fault((section, place), f'"{name}" is taken by an earlier entry of `{section}`; names are unique')
