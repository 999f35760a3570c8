"""Atomic writes: files and folders that are complete or absent."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.+@=\-]{0,149}")
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Args:
        path: Target; missing parents are made.
        content: Text (written as UTF-8) or bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode("utf-8") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        _replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_through(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file next to `path`, then replace `path` by it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        _replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def file_name(text: str) -> str:
    """A name that any file system accepts: the text itself if possible, else its valid characters and its sha256."""
    if _PLAIN.fullmatch(text):
        return text
    kept = re.sub(r"[^A-Za-z0-9_\-]+", "-", text)[:60].strip("-")
    return f"{kept}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at `target`: a hard link where the file system allows it, else a copy. An old target is replaced."""
    # Renaming one of two links to the same file onto the other does nothing at all, so that case must not get so far.
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copy2(source, temporary)
    make_readable(temporary)
    _replace(temporary, target)


def make_readable(path: Path) -> None:
    """Let others read a file: safetensors writes weights that only their owner may read."""
    mode = path.stat().st_mode
    if mode & _READABLE != _READABLE:
        with suppress(PermissionError):  # a cache may be somebody else's
            path.chmod(mode | _READABLE)


def _replace(temporary: Path, target: Path) -> None:
    """Put a file in the place of a file, or of a folder that came to be where one belongs."""
    if target.is_dir():
        shutil.rmtree(target)
    temporary.replace(target)


def files_below(folder: Path) -> list[Path]:
    """Regular files below a folder, relative to it, sorted by name."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder` if the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
            folder.replace(old)
            shutil.rmtree(old)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
