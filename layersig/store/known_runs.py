"""The runs that refer to entries of a cache, and what their folders hold of these."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from layersig.errors import UserError
from layersig.jsonform import Damaged, read_json
from layersig.store.cache import Cache, RunForm
from layersig.store.runfolder import ManifestForm, RunFolder, all_runs


class KnownRuns:
    """The runs that refer to a cache: those on record in it, and those below some folders.

    Args:
        cache: The cache.
        folders: Folders of runs.

    Attributes:
        statuses: By name.
        unreadable: Names of those of which it is not known what they refer to.
    """

    def __init__(self, cache: Cache, folders: Sequence[Path]) -> None:
        recorded = [folder_of(record) for record in (cache.root / "runs").glob("*.json")]
        paths = [path for path in recorded if path is not None]
        paths += [run.path.resolve() for folder in folders for run in all_runs(folder)]
        self.statuses: dict[str, str] = {}
        self.unreadable: tuple[str, ...] = ()
        self._by_fingerprint: dict[str, list[KnownRun]] = defaultdict(list)
        for path in sorted(set(paths)):
            run = KnownRun(cache, path)
            self.statuses[run.name] = run.status
            self.unreadable += (run.name,) if run.unreadable else ()
            for fingerprint in run.fingerprints:
                self._by_fingerprint[fingerprint].append(run)

    def of(self, fingerprint: str) -> Sequence[KnownRun]:
        """Those that refer to a stage."""
        return self._by_fingerprint.get(fingerprint, ())


class KnownRun:
    """A run that refers to entries of a cache.

    Args:
        cache: The cache.
        path: The run's folder.

    Attributes:
        name: Its name, as users write it.
        status: Of its manifest; `damaged` where that cannot be read.
        fingerprints: Of its stages.
        unreadable: Whether it has a manifest that cannot be read.
    """

    def __init__(self, cache: Cache, path: Path) -> None:
        self._cache = cache
        self._path = path
        self.name = f"{path.parent.name}/{path.name}"
        self.status = "damaged"
        self.fingerprints: frozenset[str] = frozenset()
        self.unreadable = False
        try:
            manifest: ManifestForm = RunFolder(path).state()
        except (UserError, OSError):
            self.unreadable = not _gone(path / "manifest.json")  # a run that has just begun has none yet
            return
        self.status = manifest["status"]
        self.fingerprints = frozenset(stage.get("fingerprint") or "" for stage in manifest["stages"]) - {""}

    def holds(self, folder: Path, files: Mapping[str, str]) -> bool:
        """Whether the run's folder has all of these files of an entry, as links or as copies."""
        return all(self._has(folder / name, digest) for name, digest in files.items())

    def _has(self, file: Path, digest: str) -> bool:
        try:
            stat = file.stat()
        except OSError:
            return True  # damaged: it is no loss
        alike = self._by_size.get(stat.st_size, {})
        if (stat.st_dev, stat.st_ino) in alike:
            return True
        for path in alike.values():
            with suppress(OSError):  # it was removed in between
                if self._cache.hashes.file(path) == digest:
                    return True
        return False

    @cached_property
    def _by_size(self) -> Mapping[int, Mapping[tuple[int, int], Path]]:
        """Files of the run's folder by size, then by device and inode."""
        found: dict[int, dict[tuple[int, int], Path]] = defaultdict(dict)
        for path, stat in files_of(self._path):
            found[stat.st_size][stat.st_dev, stat.st_ino] = path
        return found


def files_of(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files below a folder, or a file by itself; those removed in between are left out."""
    below = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    for file in below if path.is_dir() else (path,):
        with suppress(OSError):
            yield file, file.lstat()


def folder_of(record: Path) -> Path | None:
    """The run folder that a record names; None where it is surely gone, or the record says nothing."""
    try:
        path = Path(read_json(record, RunForm)["path"])
    except (OSError, Damaged):
        return None
    return None if _gone(path) else path


def _gone(path: Path) -> bool:
    """Whether there is surely no such file or folder; where the disk does not let one look, it may be there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False
