"""The folder that a confined program writes to: how much it holds, and its removal, whatever the program left in it."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LEAST = 4096
"""Bytes that any file or folder counts for, so that a million empty ones count as well."""


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="layersig-")).resolve()
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            _empty(folder)
            folder.rmdir()


def size_of(folder: Path, process: int) -> int:
    """Bytes in a folder, and in files that a process holds open after it took away their names.

    A folder that cannot be looked into, such as one deeper than a path can be long, counts as larger than any limit.
    """
    size, pending = 0, [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # gone since
                        size += max(_LEAST, entry.stat(follow_symlinks=False).st_size)
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return sys.maxsize
    return size + _nameless(process)


def _nameless(process: int) -> int:
    size = 0
    with contextlib.suppress(OSError), os.scandir(f"/proc/{process}/fd") as opened:
        for entry in opened:
            with contextlib.suppress(OSError):
                found = entry.stat()
                if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                    size += found.st_size
    return size


def _empty(folder: Path) -> None:
    """Remove all that is in a folder, without recursion: a program may nest folders deeper than Python's stack.

    What lies below a folder in it is moved up into it, until nothing lies below; so no path is ever long.
    """
    folder.chmod(stat.S_IRWXU)
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    moved = 0
    try:
        while names := os.listdir(top):  # noqa: PTH208  # by descriptor, which no path is
            for name in names:
                if not stat.S_ISDIR(os.lstat(name, dir_fd=top).st_mode):
                    os.unlink(name, dir_fd=top)
                    continue
                os.chmod(name, stat.S_IRWXU, dir_fd=top)
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
                try:
                    for each in os.listdir(inner):  # noqa: PTH208
                        moved += 1
                        # A name that no program can have left there beforehand.
                        os.rename(each, f"{moved}.{os.urandom(8).hex()}", src_dir_fd=inner, dst_dir_fd=top)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
