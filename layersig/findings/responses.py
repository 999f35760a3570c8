"""What the arms wrote, by arm and task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from layersig.findings.files import RunFiles
from layersig.records import Cell

PASSED = frozenset({"none", "passed"})
"""Classes of programs that ended well, in either taxonomy."""

Line = Mapping[str, Any]


class Responses(NamedTuple):
    """What one arm wrote in one task: the lines of each of its runs."""

    arm: str
    data: str | None
    task: str
    runs: tuple[tuple[Line, ...], ...]


def responses_of(files: RunFiles) -> tuple[Responses, ...]:
    """Everything that models wrote, the untouched one first."""
    return group_responses(files.responses())


def group_responses(responses: Iterable[tuple[Cell, Sequence[Line]]]) -> tuple[Responses, ...]:
    """The same from the lines of every model."""
    found: dict[tuple[str, str | None, str], list[tuple[Line, ...]]] = {}
    for cell, lines in responses:
        tasks: dict[str, list[Line]] = {}
        for line in lines:
            tasks.setdefault(line["task"], []).append(line)
        for task, of_task in tasks.items():
            found.setdefault((cell.arm or "", cell.data, task), []).append(tuple(of_task))
    return tuple(Responses(*key, tuple(runs)) for key, runs in found.items())
