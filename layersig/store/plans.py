"""The record of plans: what the declared comparisons of a run can detect, stated before an outcome is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from layersig.jsonform import Number, Open, dumps, read_json
from layersig.store.files import write_atomic


class PlannedForm(Open):
    """What a declared comparison, or a claim to be as good as all layers, was planned to detect."""

    kind: Literal["comparison", "as good"]
    arm: str
    reference: str
    data: str
    task: str
    metric: str
    seeds: int
    items: int | None
    level: Number
    detectable: Number | None
    margin: Number | None
    origin: str
    assumed: bool


class _RecordForm(Open):
    members: list[PlannedForm]


class Plans:
    """The plans on record in one cache, the last one of every run.

    Args:
        root: The cache folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "plans"

    def get(self, run: str) -> list[PlannedForm] | None:
        """The plan of a run, or None.

        Args:
            run: Id of the run: the hash of its resolved recipe.

        Raises:
            Damaged: The record cannot be read.
        """
        path = self._path(run)
        return read_json(path, _RecordForm)["members"] if path.is_file() else None

    def put(self, run: str, members: Sequence[PlannedForm]) -> None:
        """Put the plan of a run on record, in place of an earlier one."""
        write_atomic(self._path(run), dumps({"members": members}, indent=1) + "\n")

    def _path(self, run: str) -> Path:
        return self._folder / f"{run}.json"
