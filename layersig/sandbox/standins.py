"""Stand-ins for functions of Python whose system calls are refused, although they are harmless in a scratch folder.

A change of folder becomes an opened folder, which Landlock can judge. Changes of mode and time stamps, which nothing in
the kernel limits to a folder, are left to the parent. `multiprocessing` gets locks between threads: there are no other
processes. Loaded by `launch.py`; standard library only.
"""

from __future__ import annotations

import _multiprocessing
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

_NANOSECONDS = 1_000_000_000


class _Semaphore:
    """`multiprocessing`'s semaphore among the threads of one process; the original lies in memory shared by all."""

    SEM_VALUE_MAX = 2**31 - 1

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        self.kind, self.maxvalue, self.handle = kind, maxvalue, 0
        self.name = None  # one with a name is reported to a process that removes it after a crash
        self._free, self._held, self._owner = value, 0, 0
        self._changed = threading.Condition()

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        with self._changed:
            if self._recursive and self._is_mine():
                self._held += 1
                return True
            if not self._changed.wait_for(lambda: self._free > 0, timeout if block else 0):
                return False
            self._free, self._held, self._owner = self._free - 1, self._held + 1, threading.get_ident()
            return True

    def release(self) -> None:
        with self._changed:
            if self._recursive and not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if not self._recursive and self._free >= self.maxvalue:
                raise ValueError("semaphore or lock released too many times")
            self._held -= 1
            if not self._recursive or not self._held:
                self._free += 1
                self._changed.notify()

    @property
    def _recursive(self) -> bool:
        return self.kind == 0

    def _count(self) -> int:
        return self._held

    def _is_mine(self) -> bool:
        return self._held > 0 and self._owner == threading.get_ident()

    def _get_value(self) -> int:
        return self._free

    def _is_zero(self) -> bool:
        return self._free == 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def install(errands: int) -> None:
    """Put the stand-ins in place.

    Args:
        errands: Descriptor of the line to the parent (`errands.py`).
    """
    asking = threading.Lock()

    def ask(what: str, path: Any, values: list[int], folder: int | None, follow: bool) -> None:
        with asking:
            os.write(errands, json.dumps([what, _place(path, folder, follow), values]).encode())
            number = int(os.read(errands, 16))
        if number:
            raise OSError(number, os.strerror(number), path)

    def chmod(path: Any, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        """Change the mode of a file."""
        ask("mode", path, [mode], dir_fd, follow_symlinks)

    def fchmod(fd: int, mode: int) -> None:
        """Change the mode of an open file."""
        ask("mode", fd, [mode], None, True)

    def utime(
        path: Any, times: Any = None, *, ns: Any = None, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> None:
        """Set the times of access and change of a file."""
        if times is not None and ns is not None:
            raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
        now = time.time_ns()
        stamps = ns or ((now, now) if times is None else [round(each * _NANOSECONDS) for each in times])
        ask("times", path, [int(each) for each in stamps], dir_fd, follow_symlinks)

    def chdir(path: Any) -> None:
        """Change the working folder."""
        place = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchdir(place)
        finally:
            if place is not path:
                os.close(place)

    replacements: list[Callable[..., None]] = [chmod, fchmod, utime, chdir]
    for new in replacements:
        old = getattr(os, new.__name__)
        for supporting in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
            if old in supporting:
                supporting.add(new)
        setattr(os, new.__name__, new)
    _multiprocessing.SemLock = _Semaphore


def _place(path: Any, folder: int | None, follow: bool) -> str:
    """The absolute path of a file, named or open."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115
    start = os.getcwd() if folder is None else os.readlink(f"/proc/self/fd/{folder}")  # noqa: PTH109, PTH115
    place = os.path.join(start, os.fsdecode(path))  # noqa: PTH118
    if follow:
        return os.path.realpath(place)
    return os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))  # noqa: PTH118, PTH119, PTH120
