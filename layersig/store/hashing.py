"""Content hashes of files and folders, memoised so that a gigabyte is read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from layersig.jsonform import Digest, parse_json
from layersig.store.files import write_atomic

Known = dict[str, tuple[int, int, int, Digest]]
"""Size, modification time in ns, inode and sha256 by path."""


def sha256_bytes(content: bytes) -> str:
    """Hex sha256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def sha256_json(value: Any) -> str:
    """Hex sha256 of a JSON value in canonical form: sorted keys, no spaces, no NaN."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


class FileHashes:
    """Sha256 of files, remembered by path, size, modification time and inode.

    Args:
        memo: JSON file that keeps what was computed; None remembers for this process only. Two processes that write
            it at once lose at most each other's entries, never correctness.
    """

    def __init__(self, memo: Path | None = None) -> None:
        self._memo = memo
        self._known: Known = {}
        self._new = False
        if memo is not None:
            with contextlib.suppress(OSError, ValueError):  # without it, or with a damaged one, files are read again
                self._known = parse_json(memo.read_bytes(), Known)

    def file(self, path: Path) -> str:
        """Hex sha256 of the file's content."""
        path = path.resolve()
        stat = path.stat()
        identity = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        known = self._known.get(str(path))
        if known is not None and known[:3] == identity:
            return known[3]
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        self._known[str(path)] = (*identity, digest)
        self._new = True
        return digest

    def matches(self, path: Path, digest: str) -> bool:
        """Whether a file has this hash. What the memo says against it is checked on the content."""
        if self.file(path) == digest:
            return True
        self._known.pop(str(path.resolve()))
        return self.file(path) == digest

    def save(self) -> None:
        """Write the memo, where there is anything new."""
        if self._memo is not None and self._new:
            write_atomic(self._memo, json.dumps(self._known))
            self._new = False


def digest_of(files: dict[str, str]) -> str:
    """Digest of a folder from the sha256 of its files by relative name."""
    return sha256_json(files)
