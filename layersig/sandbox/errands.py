"""Changes of mode and time stamps that a confined program asks for: the parent makes them, in the scratch folder only.

Neither Landlock nor a filter of system calls can limit them to a folder. What arrives here comes from a program that
is not trusted: whatever it says, no file outside the folder is touched, and nothing is raised.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

_LONGEST = 1 << 14
_PERMISSIONS = 0o777
"""The bits of a mode that are handed on: none that lends a file's owner to others."""


class Errands:
    """A line to a confined program, on which it asks and is answered with an error number, 0 for done.

    Attributes:
        listen: The parent's end.
        ask: The program's end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.listen, self.ask = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def close(self) -> None:
        """Close both ends."""
        self.listen.close()
        self.ask.close()

    def serve(self) -> bool:
        """Do what was asked, once something was; False when the program hung up."""
        try:
            raw = self.listen.recv(_LONGEST)
            if raw:
                self.listen.send(str(_done(self._folder, raw)).encode(), socket.MSG_DONTWAIT)
        except OSError:
            return False
        return bool(raw)


def _done(folder: Path, raw: bytes) -> int:
    try:
        what, place, values = json.loads(raw)
        with _inside(folder, PurePosixPath(place)) as found:
            if what == "mode":
                (mode,) = values
                Path(found).chmod(mode & _PERMISSIONS)
            elif what == "times":
                os.utime(found, ns=_pair(values))
            else:
                return errno.EINVAL
    except OSError as error:
        return error.errno or errno.EINVAL
    except (ValueError, TypeError, RecursionError, OverflowError):
        return errno.EINVAL
    return 0


def _pair(values: Any) -> tuple[int, int]:
    access, change = values
    return access, change


@contextlib.contextmanager
def _inside(folder: Path, place: PurePosixPath) -> Iterator[str]:
    """A path that stands for a file of the folder as long as the block lasts, whatever is renamed meanwhile."""
    if not place.is_relative_to(folder) or ".." in place.parts:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        for name in place.relative_to(folder).parts:
            inner = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
