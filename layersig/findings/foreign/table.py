"""Reads per-item results from a CSV or TSV file, long (a row an item, arm and seed) or wide (a column an arm)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from layersig.errors import UserError
from layersig.findings.delimited import delimited
from layersig.findings.foreign.log import ItemIdentity, Log
from layersig.records import Outcome

_SAME = {"model": "arm", "doc_id": "item", "id": "item", "score": "value"}
"""Other names that columns may have."""
_LABELS = ("item", "task", "metric", "seed", "cluster", "weight")
_KNOWN = (*_LABELS, "arm", "value")
_TRUTH = {"true": 1.0, "false": 0.0}

Run = tuple[str | None, int | None]
"""Arm, None where the file names none, and seed."""


def is_table(path: Path) -> bool:
    """Whether a file is called as a table is."""
    return path.suffix.lower() in {".csv", ".tsv"}


def read_runs(path: Path) -> dict[Run, Log]:
    """The runs of a table, in the order of the file.

    A long table has a column `value`, and `arm` (or `model`) unless it is of one arm; in a wide one every column with
    another name than `item`, `task`, `metric`, `seed`, `cluster` and `weight` is an arm. Without `item`, rows are the
    items. Several rows of an arm, seed and item are samples of it, clustered by item.

    Raises:
        UserError: It cannot be read.
    """
    names, rows = _read(path)
    arms = [] if "value" in names else [name for name in names if name not in _LABELS]
    if "value" not in names and not arms:
        raise UserError(f"{path}: there is neither a column `value` nor one for every arm")
    if "value" in names and (odd := [name for name in names if name not in _KNOWN]):
        raise UserError(f"{path}: beside `value` there is a column {odd[0]!r}; known are {', '.join(_KNOWN)}")
    cells: dict[Run, list[tuple[str, Outcome]]] = {}
    for number, (line, row) in enumerate(rows):
        where = f"{path}:{line}"
        item = row.get("item") or (f"{number}" if "item" not in names else "")
        if not item:
            raise UserError(f"{where}: the item has no name")
        columns: Mapping[str | None, str] = {arm: arm for arm in arms} or {row.get("arm"): "value"}
        if "" in columns:
            raise UserError(f"{where}: the arm has no name")
        for arm, column in columns.items():
            value = _number(row[column], where, column)
            weight = _number(row["weight"], where, "weight") if row.get("weight") else 1.0
            if weight <= 0:
                raise UserError(f"{where}: weight {weight:g} is not above 0")
            outcome = Outcome(
                row.get("task") or "table",
                item,
                row.get("metric") or "value",
                value,
                weight,
                row.get("cluster") or None,
            )
            cells.setdefault((arm, _seed(row.get("seed", ""), where)), []).append((where, outcome))
    return {run: _log(path, found) for run, found in cells.items()}


def _log(path: Path, found: Sequence[tuple[str, Outcome]]) -> Log:
    keys = [(outcome.task, outcome.metric, outcome.item) for _, outcome in found]
    several = max(Counter(keys).values()) > 1
    seen: Counter[tuple[str, str, str]] = Counter()
    outcomes: list[Outcome] = []
    asked: dict[tuple[str, str], ItemIdentity] = {}
    for (where, outcome), key in zip(found, keys, strict=True):
        item = outcome.item
        if several:
            if outcome.cluster is not None:
                raise UserError(f"{where}: {item} has several rows and a cluster of its own; leave out one of the two")
            item, cluster = f"{item}#{seen[key]}", item
            outcome = Outcome(outcome.task, item, outcome.metric, outcome.value, outcome.weight, cluster)
        seen[key] += 1
        outcomes.append(outcome)
        asked[outcome.task, item] = ItemIdentity(f"item {item}")
    notes = (f"{path}: several rows of an item are taken as samples of it, clustered by item",) if several else ()
    return Log(str(path), tuple(outcomes), asked, notes=notes)


def _read(path: Path) -> tuple[list[str], list[tuple[int, Mapping[str, str]]]]:
    lines = list(delimited(path))
    if len(lines) < 2:
        raise UserError(f"{path}: there are no rows below the names of the columns")
    (first, head), *rest = lines
    names = _names(head, f"{path}:{first}")
    return names, [(line, dict(zip(names, cells, strict=True))) for line, cells in rest]


def _names(cells: Sequence[str], where: str) -> list[str]:
    """Names of the columns; those of arms as they are written."""
    lower = [cell.lower() for cell in cells]
    names = [
        _SAME.get(low, low) if _SAME.get(low, low) in _KNOWN else cell for low, cell in zip(lower, cells, strict=True)
    ]
    for name in names:
        if not name or names.count(name) > 1:
            raise UserError(f"{where}: two columns are called {name!r}" if name else f"{where}: a column has no name")
    return names


def _number(text: str, where: str, column: str) -> float:
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}: {column}: {text!r} is neither a number nor true or false") from None
    if not math.isfinite(value):
        raise UserError(f"{where}: {column} is {text}; every item needs a finite value")
    return value


def _seed(text: str, where: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{where}: seed: {text!r} is not a whole number") from None
