"""The record of looks: the seeds with which the results of a study have been reported.

Training more seeds because of what the first ones showed, and testing again, rejects true nulls too often. So every
report that shows results is put on record: under the study without its seeds, the seeds that it had. A study with other
seeds can then say which results were known before. What a study was preceded by is fixed when it is first analysed, so
that later looks do not change its report.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from layersig.jsonform import Open, dumps, read_json
from layersig.store.files import write_atomic


class LooksForm(Open):
    """The looks at a study, in the order in which they were first taken."""

    looks: list[list[int]]


class Looks:
    """The looks on record in one cache.

    Args:
        root: The cache folder.
        study: Digest of what is trained and measured, without the seeds.
    """

    def __init__(self, root: Path, study: str) -> None:
        self._path = root / "looks" / f"{study}.json"

    def before(self, seeds: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The seeds of every look that was taken before the first one with these seeds.

        Raises:
            Damaged: The record cannot be read.
        """
        taken, own = self._read(), tuple(sorted(seeds))
        return tuple(taken[: taken.index(own)] if own in taken else taken)

    def put(self, seeds: Sequence[int]) -> None:
        """Put a look with these seeds on record, unless it is there already."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_suffix(".lock")):
            taken, own = self._read(), tuple(sorted(seeds))
            if own not in taken:
                write_atomic(self._path, dumps({"looks": [*taken, own]}, indent=1) + "\n")

    def _read(self) -> list[tuple[int, ...]]:
        if not self._path.is_file():
            return []
        return [tuple(look) for look in read_json(self._path, LooksForm)["looks"]]
