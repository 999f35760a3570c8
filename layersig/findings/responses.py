"""What the arms wrote, by arm and task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from layersig.findings.contrasts import Seeds
from layersig.findings.files import RunFiles
from layersig.records import Cell

PASSED = frozenset({"none", "passed"})
"""Classes of programs that ended well, in either taxonomy."""

Line = Mapping[str, Any]


class Responses(NamedTuple):
    """What one arm wrote in one task: the lines of each of its runs, with the seed of each."""

    arm: str
    data: str | None
    task: str
    seeds: Seeds
    runs: tuple[tuple[Line, ...], ...]

    def of(self, seeds: Seeds) -> Responses:
        """The runs of these seeds; one without a seed stands for any."""
        own = [self.seeds.index(seed if seed in self.seeds else None) for seed in seeds]
        return self._replace(seeds=seeds, runs=tuple(self.runs[place] for place in own))


def responses_of(files: RunFiles) -> tuple[Responses, ...]:
    """Everything that models wrote, the untouched one first."""
    return group_responses(files.responses())


def group_responses(responses: Iterable[tuple[Cell, Sequence[Line]]]) -> tuple[Responses, ...]:
    """The same from the lines of every model."""
    found: dict[tuple[str, str | None, str], dict[int | None, tuple[Line, ...]]] = {}
    for cell, lines in responses:
        tasks: dict[str, list[Line]] = {}
        for line in lines:
            tasks.setdefault(line["task"], []).append(line)
        for task, of_task in tasks.items():
            found.setdefault((cell.arm or "", cell.data, task), {})[cell.seed] = tuple(of_task)
    return tuple(Responses(*key, tuple(runs), tuple(runs.values())) for key, runs in found.items())
