"""The content-addressed cache of stage outputs.

An entry is a folder named by the fingerprint of its stage: `stage.json` (what it is, what it cost, the sha256 of every
file), `out/` (the output itself) and `metrics.jsonl`. It is built under `work/` and renamed when complete, so an entry
is complete or absent. A damaged one is set aside and built again. Whoever uses an entry finds it while holding the lock
of its fingerprint; `cleaning` removes entries under the same lock.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NotRequired

import platformdirs
from filelock import FileLock
from typing_extensions import TypedDict

from layersig.errors import UserError
from layersig.jsonform import Damaged, Digest, Number, Open, dumps, jsonl, read_json
from layersig.store.files import discard, files_below, write_atomic
from layersig.store.hashing import FileHashes, digest_of, sha256_bytes

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def cache_root() -> Path:
    """The cache folder: `LAYERSIG_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("LAYERSIG_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("layersig"))


def cache_limit() -> int | None:
    """Bytes that the cache may have after a run: `LAYERSIG_CACHE_LIMIT`; None without one.

    Raises:
        UserError: The variable is no size.
    """
    text = os.environ.get("LAYERSIG_CACHE_LIMIT")
    if not text:
        return None
    try:
        return bytes_of(text)
    except UserError as error:
        raise UserError(f"LAYERSIG_CACHE_LIMIT: {error}") from None


def bytes_of(text: str) -> int:
    """A number of bytes such as `500MB`, `20 GiB` or `1.5T`.

    Raises:
        UserError: It is none.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?)?b?\s*", text.lower())
    if found is None:
        raise UserError(f"{text!r} is not a size; write one such as 500MB, 20GB or 1TiB")
    return int(Decimal(found[1]) * _UNITS[found[2] or ""])


class RunForm(TypedDict):
    """The record of a run: where its folder is."""

    path: str


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
        folder = self.folder(fingerprint)
        if not folder.exists():
            return None
        discard(folder / "state")  # left by a process that was killed while it committed the entry
        try:
            entry = self._checked(folder, fingerprint)
            with contextlib.suppress(OSError):  # the cache of another user
                os.utime(folder / "stage.json")
            return entry
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

    def register(self, run: Path) -> None:
        """Put on record that a run folder refers to entries of this cache."""
        path = str(run.resolve())
        record = self.root / "runs" / f"{sha256_bytes(path.encode())}.json"
        if not record.exists():
            write_atomic(record, dumps({"path": path}) + "\n")

    def lock(self, fingerprint: str) -> FileLock:
        """A lock that one process at a time holds while it finds, builds or removes the entry."""
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
        folder = self.folder(fingerprint)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.remove(folder)
        # The state goes last: a process that is killed here must not leave half of it to continue from.
        work.rename(folder)
        discard(folder / "state")
        return StageEntry(folder, full)

    def remove(self, path: Path) -> None:
        """Remove a file or folder of the cache at once; what a kill leaves of it lies in `removed/`."""
        if path.exists():
            aside = self._free_name(self.root / "removed", path.name)
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.rename(aside)
            discard(aside)

    def folder(self, fingerprint: str) -> Path:
        """Where the entry of a fingerprint is, or would be."""
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
