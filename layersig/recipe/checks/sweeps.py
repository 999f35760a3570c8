"""Checks of `[[sweeps]]`: known entries, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from layersig.plugin.table import suggestion
from layersig.recipe.checks.values import list_at, tables_at
from layersig.recipe.faults import Fault


def sweep_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of entries that a sweep names twice, or that the recipe does not have."""
    for number, sweep in tables_at(data, "sweeps"):
        section = sweep.get("of", "arms")
        if section not in ("arms", "data"):
            continue  # reported by the schema
        known = [entry["name"] for _, entry in tables_at(data, section) if isinstance(entry.get("name"), str)]
        seen: set[str] = set()
        for place, name in enumerate(list_at(sweep, "entries")):
            if not isinstance(name, str):
                continue
            if name not in known:
                yield Fault(
                    ("sweeps", number, "entries", place),
                    f'there is no [[{section}]] named "{name}"{suggestion(name, known)}',
                )
            elif name in seen:
                yield Fault(("sweeps", number, "entries", place), f'"{name}" is given twice; remove one')
            seen.add(name)
