"""The cache of fetched and converted files: folders that are complete or absent, with the sha256 of every file.

Layout: `CACHE/sources/AREA/KEY/` holds the files, `KEY.json` next to it their sha256. An entry is complete if both
agree. The folder is named by the key, because `datasets` distinguishes local folders by their last name alone.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from layersig.errors import MachineError
from layersig.jsonform import Damaged, Digest, Open, read_json
from layersig.sources.source import Warn
from layersig.store.files import file_name, files_below, write_atomic
from layersig.store.hashing import FileHashes, digest_of


class EntryForm(Open):
    """`KEY.json`."""

    files: dict[str, Digest]


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A complete folder of the cache.

    Attributes:
        path: Folder that holds the files.
        digest: Hex sha256 over names and contents of the files.
    """

    path: Path
    digest: str


def hash_files(cache: Path, paths: Mapping[str, Path]) -> dict[str, str]:
    """Hex sha256 of files by name, remembered below the cache by size, modification time and inode."""
    memo = FileHashes(cache / "sources" / "hashes.json")
    digests = {name: memo.file(path) for name, path in paths.items()}
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        memo.save()
    return digests


def hash_file(path: Path, cache: Path) -> str:
    """Hex sha256 of one file, remembered as `hash_files` does."""
    return hash_files(cache, {"file": path})["file"]


def whole_entry(
    cache: Path, area: str, key: str, build: Callable[[Path], None], *, origin: Mapping[str, str], warn: Warn
) -> FolderEntry:
    """The entry `area/key`, built when absent.

    A damaged entry (a file changed, cut short, missing) is set aside as `KEY.damaged` and built again.

    Args:
        cache: Root of the cache.
        area: Folder of entries of one sort.
        key: Name of the entry; equal keys mean equal contents.
        build: Fills an empty folder; it may raise, and then nothing is left behind.
        origin: Where the contents come from; kept in the manifest.
        warn: Told when a damaged entry was set aside.

    Raises:
        MachineError: The cache cannot be written, or `build` says so.
    """
    folder = cache / "sources" / area / file_name(key)
    entry = _intact(cache, folder)
    if entry is not None:
        return entry
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            entry = _intact(cache, folder)  # another process may have built it while this one waited
            if entry is not None:
                return entry
            if _manifest(folder).exists():
                _set_aside(folder, warn)
            else:
                shutil.rmtree(folder, ignore_errors=True)  # its maker was killed before it was done
            _build(folder, build, origin)
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be made: {error} (check free space and write permission of the cache; "
            "LAYERSIG_CACHE sets another folder)"
        ) from error
    entry = _intact(cache, folder)
    if entry is None:
        raise MachineError(f"{folder} does not hold what was just written to it; check the disk")
    return entry


def _manifest(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _paths(folder: Path) -> dict[str, Path]:
    return {name.as_posix(): folder / name for name in files_below(folder)}


def _intact(cache: Path, folder: Path) -> FolderEntry | None:
    try:
        expected = read_json(_manifest(folder), EntryForm)["files"]
        memo = FileHashes(cache / "sources" / "hashes.json")
        paths = _paths(folder)
        intact = paths.keys() == expected.keys() and all(memo.matches(path, expected[n]) for n, path in paths.items())
    except (OSError, Damaged):
        return None
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        memo.save()
    return FolderEntry(folder, digest_of(expected)) if intact else None


def _set_aside(folder: Path, warn: Warn) -> None:
    aside = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    warn(f"cache entry {folder} is damaged; set aside as {aside.name} and built again")


def _build(folder: Path, build: Callable[[Path], None], origin: Mapping[str, str]) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    part.mkdir()
    try:
        build(part)
        memo = FileHashes()
        files = {name: memo.file(path) for name, path in _paths(part).items()}
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    write_atomic(_manifest(folder), json.dumps({"origin": dict(origin), "files": files}, indent=1) + "\n")
