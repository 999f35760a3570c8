"""The record of planned costs: what the stages of a run were expected to take, stated before they were computed."""

from __future__ import annotations

from pathlib import Path

from layersig.jsonform import Damaged, Number, Open, dumps, read_json
from layersig.store.files import write_atomic


class PlannedStageForm(Open):
    """What a stage was expected to take; null where that was not known."""

    id: str
    seconds: Number | None
    at_most: bool
    """Whether the time is an upper bound: texts may end earlier."""
    memory: Number | None
    """Bytes at the peak."""
    disk: Number | None
    """Bytes that it adds to the store."""
    calls: int | None
    """Verdicts that it asks the judge for."""


class PlannedCostsForm(Open):
    """What a run was expected to cost."""

    origin: str
    """Where the speed that times were counted with comes from."""
    stages: list[PlannedStageForm]


class PlannedCosts:
    """The planned costs on record in one cache, the last ones of every run.

    Args:
        root: The cache folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "planned-costs"

    def get(self, run: str) -> PlannedCostsForm | None:
        """What a run was expected to cost, or None.

        Args:
            run: Id of the run: the hash of its resolved recipe.

        Raises:
            Damaged: The record cannot be read.
        """
        path = self._path(run)
        return read_json(path, PlannedCostsForm) if path.is_file() else None

    def put(self, run: str, planned: PlannedCostsForm) -> None:
        """Put the costs of stages that are left on record; of other stages, an earlier plan stays as it was."""
        try:
            earlier = self.get(run)
        except Damaged:
            earlier = None
        if earlier is not None:
            kept = {stage["id"]: stage for stage in earlier["stages"]}
            kept |= {stage["id"]: stage for stage in planned["stages"]}
            planned = {**planned, "stages": list(kept.values())} if planned["stages"] else earlier
        write_atomic(self._path(run), dumps(planned, indent=1) + "\n")

    def _path(self, run: str) -> Path:
        return self._folder / f"{run}.json"
