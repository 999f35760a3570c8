"""Checks of `[about]`: its licences and dates must belong to sources and tasks of the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from layersig.plugin.table import suggestion
from layersig.recipe.checks.tasks import task_sources
from layersig.recipe.checks.values import table_at, tables_at
from layersig.recipe.faults import Fault


def about_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of licences and dates whose source or task is not in the recipe."""
    about = table_at(data, "about")
    sources = ["model", *(name for _, entry in tables_at(data, "data") if isinstance(name := entry.get("name"), str))]
    tasks = [task_name(source) for _, source in task_sources(table_at(data, "evaluate"))]
    for key, noun, known in (("licences", "source", sources), ("published", "task", tasks)):
        for name in table_at(about, key):
            if name not in known:
                yield Fault(("about", key, name), f'there is no {noun} "{name}"{suggestion(name, known)}')


def task_name(source: str) -> str:
    """The name of a task in `about.published`: its own, or that of its file without the suffix."""
    name = source.removeprefix("pypi:")
    return name.removeprefix("file:").rpartition("/")[2].rpartition(".")[0] if name.startswith("file:") else name
