"""The content-addressed cache of stage outputs.

An entry is a folder named by the fingerprint of its stage: `stage.json` (what it is, what it cost, the sha256 of every
file), `out/` (the output itself) and `metrics.jsonl`. It is built under `work/` and renamed when complete, so an entry
is complete or absent. A damaged one is set aside and built again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

import platformdirs
from filelock import FileLock

from layersig.jsonform import Damaged, Digest, Number, Open, dumps, jsonl, read_json
from layersig.store.files import files_below, write_atomic
from layersig.store.hashing import FileHashes, digest_of, sha256_bytes


def cache_root() -> Path:
    """The cache folder: `LAYERSIG_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("LAYERSIG_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("layersig"))


class AboutForm(Open):
    """The description of a stage, and its cost."""

    kind: str
    version: int
    seconds: Number
    cost: Mapping[str, Number]
    warnings: list[str]
    declarations: list[str]


class EntryForm(AboutForm):
    """`stage.json`."""

    fingerprint: Digest
    files: dict[str, Digest]
    digest: Digest
    metrics: Digest
    kept: NotRequired[dict[str, Digest]]


@dataclass(frozen=True)
class StageEntry:
    """A finished stage in the cache.

    Attributes:
        folder: The entry's folder.
        about: What `stage.json` holds.
    """

    folder: Path
    about: EntryForm

    @property
    def out(self) -> Path:
        """The stage's output."""
        return self.folder / "out"

    @property
    def kept(self) -> Path:
        """State from which a longer stage can continue; not part of the output."""
        return self.folder / "kept"

    @property
    def metrics(self) -> Path:
        """Rows of `metrics.jsonl` without their cell."""
        return self.folder / "metrics.jsonl"

    @property
    def digest(self) -> str:
        """Content hash of the output."""
        return self.about["digest"]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum((self.folder / name).stat().st_size for name in files_below(self.folder))


class Cache:
    """Stage outputs by fingerprint, below one root folder.

    Args:
        root: The cache folder; made when missing.
        warn: Told of entries that were damaged and set aside.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.root = root
        self.hashes = FileHashes(root / "hashes.json")
        self._warn = warn

    def find(self, fingerprint: str) -> StageEntry | None:
        """The complete entry of a fingerprint, or None. A damaged one is set aside first."""
        folder = self._folder(fingerprint)
        if not folder.exists():
            return None
        try:
            return self._checked(folder, fingerprint)
        except Damaged as error:
            fault = error.why
        aside = self._free_name(self.root / "damaged", fingerprint)
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(aside)
        self._warn(f"cache entry {fingerprint[:12]} is damaged ({fault}); set aside in {aside} and built again")
        return None

    def relate(self, family: str, fingerprint: str) -> None:
        """Put on record that a finished stage belongs to a family: stages alike but for their length."""
        folder = self.root / "families" / family
        folder.mkdir(parents=True, exist_ok=True)
        (folder / fingerprint).touch()

    def family(self, family: str) -> tuple[StageEntry, ...]:
        """The complete entries of a family, in the order of their fingerprints."""
        names = sorted(path.name for path in (self.root / "families" / family).glob("*"))
        found = (self.find(name) for name in names)
        return tuple(entry for entry in found if entry is not None)

    def lock(self, fingerprint: str) -> FileLock:
        """A lock that one process at a time holds while it builds the entry."""
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / f"{fingerprint}.lock")

    def workplace(self, fingerprint: str) -> Path:
        """The folder in which a stage is built: `out/` and `kept/` are emptied, `state/` survives an interruption."""
        work = self.root / "work" / fingerprint
        for name in ("out", "kept"):
            shutil.rmtree(work / name, ignore_errors=True)
            (work / name).mkdir(parents=True)
        (work / "state").mkdir(exist_ok=True)
        return work

    def commit(self, fingerprint: str, about: AboutForm, metrics: list[dict[str, Any]]) -> StageEntry:
        """Make the workplace of a stage that ended well into its entry.

        Args:
            fingerprint: The stage's fingerprint.
            about: What to keep in `stage.json` besides files and digest.
            metrics: Rows for `metrics.jsonl`.
        """
        work = self.root / "work" / fingerprint
        files = {str(name): self._hash_new(work / "out" / name) for name in files_below(work / "out")}
        kept = {str(name): self._hash_new(work / "kept" / name) for name in files_below(work / "kept")}
        rows = jsonl(metrics)
        full: EntryForm = {
            **about,
            "fingerprint": fingerprint,
            "files": files,
            "digest": digest_of(files),
            "metrics": sha256_bytes(rows.encode()),
            "kept": kept,
        }
        if not kept:
            (work / "kept").rmdir()
        write_atomic(work / "metrics.jsonl", rows)
        write_atomic(work / "stage.json", dumps(full, indent=1))
        shutil.rmtree(work / "state", ignore_errors=True)
        folder = self._folder(fingerprint)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
        return StageEntry(folder, full)

    def _folder(self, fingerprint: str) -> Path:
        return self.root / "stages" / fingerprint[:2] / fingerprint

    def _hash_new(self, path: Path) -> str:
        # The memo is keyed by path, and this path is about to change, so it is not asked.
        return FileHashes().file(path)

    def _checked(self, folder: Path, fingerprint: str) -> StageEntry:
        """The entry in a folder.

        Raises:
            Damaged: It is not what `commit` made.
        """
        try:
            about = read_json(folder / "stage.json", EntryForm)
            if (about["fingerprint"], about["digest"]) != (fingerprint, digest_of(about["files"])):
                raise Damaged(str(folder), "stage.json does not match its files")
            digests = {f"out/{name}": digest for name, digest in about["files"].items()}
            digests |= {f"kept/{name}": digest for name, digest in about.get("kept", {}).items()}
            for name, digest in {**digests, "metrics.jsonl": about["metrics"]}.items():
                if not self.hashes.matches(folder / name, digest):
                    raise Damaged(str(folder), f"{name} was changed or cut short")
        except (OSError, ValueError) as error:  # a file name that cannot be one is a ValueError
            raise Damaged(str(folder), f"unreadable: {error}") from error
        return StageEntry(folder, about)

    @staticmethod
    def _free_name(parent: Path, name: str) -> Path:
        number = 0
        while (parent / f"{name}.{number}").exists():
            number += 1
        return parent / f"{name}.{number}"
