"""One life of a process: the command line in a child of this process, until it ends or is killed.

The child is forked, so that what takes seconds to import is there already. It is the leader of a session of its own, by
which everything that it leaves behind is found.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.utime"})
"""Python's audit events by which files change, besides `open` for writing."""
DEADLINE = 300.0
"""Seconds of the clock after which a process counts as one that waits for something that never comes."""
_GONE = 30.0
"""Seconds that workers have to notice that their driver is gone."""


class Stuck(AssertionError):
    """A process did not end."""


@dataclass(frozen=True)
class Life:
    """How a process ended.

    Attributes:
        process: Its number.
        killed: Whether it was killed.
        code: Its exit code, where it was not.
        said: What it wrote on stderr.
        seconds: How long it lived.
    """

    process: int
    killed: bool
    code: int
    said: str
    seconds: float


@dataclass(frozen=True)
class Death:
    """When a process is killed.

    Attributes:
        how: `time`: after so many seconds. `change`: before the change of a file with this number. `write`: in the
            write that makes a file larger than so many bytes.
        at: Seconds, changes or bytes.
        whom: Picks the process to be killed after a time, given the first one; None for that itself.
    """

    how: str
    at: float
    whom: Callable[[int], int | None] | None = None


def live(folder: Path, work: Callable[[], object], death: Death | None = None) -> Life:
    """Let a child work in a folder; nothing that it started is left when this returns.

    Args:
        folder: Its working directory; changes of files below are counted.
        work: What it does.
        death: When it is killed; None lets it live.

    Raises:
        Stuck: It, or a process that it started, did not end.
    """
    said = folder.with_name(f"{folder.name}.stderr")
    began = time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be(folder, said, work, death)
    timed = death is not None and death.how == "time"
    status = _wait(child, began + death.at if timed and death else None)
    if status is None:
        assert death is not None
        victim = child if death.whom is None else death.whom(child)
        if victim is not None:
            _kill(victim)
        status = _wait(child, began + DEADLINE)
    if status is None:
        _end_all(child)
        raise Stuck(f"it did not end within {DEADLINE:.0f} s; stderr: {said.read_text()[-2000:]}")
    _all_gone(child)
    signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    assert signalled in (0, signal.SIGKILL, signal.SIGXFSZ), signal.Signals(signalled).name
    code = os.waitstatus_to_exitcode(status)
    return Life(child, signalled != 0, code, said.read_text(errors="replace"), time.monotonic() - began)


def changes_of(folder: Path, work: Callable[[], object]) -> int:
    """How often files change when a child works to its end."""
    counted = folder.with_name(f"{folder.name}.changes")

    def counting() -> None:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            count += _changes(event, arguments)

        sys.addaudithook(hook)
        try:
            work()
        finally:
            counted.write_text(str(count))

    life = live(folder, counting)
    assert life.code == 0, life.said
    return int(counted.read_text())


def pick(draws: random.Random, seconds: float, changes: int, sizes: Sequence[int]) -> Death:
    """A death within the work that is left to a process, at the latest after all of it.

    Args:
        draws: The random generator.
        seconds: That an unbroken run takes.
        changes: Of files in an unbroken run.
        sizes: Bytes of the files that it writes.
    """
    how = draws.choice(("time", "time", "change", "change", "change", "write"))
    if how == "time":
        return Death(how, draws.uniform(0.0, seconds / 2))
    if how == "change":
        return Death(how, draws.randint(1, changes // 2))
    return Death(how, draws.randint(1, max(draws.choice(sizes), 2)))


def _be(folder: Path, said: Path, work: Callable[[], object], death: Death | None) -> None:
    """Be the child; does not return."""
    code = 1
    try:
        os.setsid()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        os.chdir(folder)
        silent = os.open(os.devnull, os.O_RDWR)
        words = silent if death is not None and death.how == "write" else os.open(said, os.O_WRONLY | os.O_CREAT)
        os.ftruncate(words, 0) if words != silent else said.write_text("")
        os.dup2(silent, 0)
        os.dup2(silent, 1)
        os.dup2(words, 2)
        if death is not None:
            _arm(death)
        try:
            work()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _arm(death: Death) -> None:
    if death.how == "write":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(death.at), int(death.at)))
    elif death.how == "change":
        left = int(death.at)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            changed = _changes(event, arguments)
            left -= changed
            if changed and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return bool(isinstance(path, str) and (flags or 0) & _WRITES and not path.startswith("/dev/"))
    return event in _CHANGES


def _wait(child: int, until: float | None) -> int | None:
    """The status of a child that ended; None when the time is over."""
    until = time.monotonic() + DEADLINE if until is None else until
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        if time.monotonic() >= until:
            return None
        time.sleep(0.002)


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def descendants(leader: int) -> Iterator[psutil.Process]:
    """Processes of the session that a child leads, but for itself."""
    for process in psutil.process_iter():
        try:
            if process.pid != leader and os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue


def _all_gone(leader: int) -> None:
    until = time.monotonic() + _GONE
    while left := list(descendants(leader)):
        if time.monotonic() > until:
            names = [" ".join(process.cmdline())[:200] for process in left]
            _end_all(leader)
            raise Stuck(f"orphans: {names}")
        time.sleep(0.05)


def _end_all(leader: int) -> None:
    for process in [*descendants(leader)]:
        _kill(process.pid)
    _kill(leader)


@contextmanager
def served(serve: Callable[[Callable[[str], None]], None]) -> Iterator[str]:
    """A server in a process of its own; what it says first, such as its address."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            serve(lambda text: (os.write(write, text.encode()), os.close(write)))  # type: ignore[arg-type, return-value]
        finally:
            os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read) as said:
            yield said.read()
    finally:
        _kill(child)
        os.waitpid(child, 0)
