"""Runs one Python program confined by the kernel, and tells how it ended."""

from __future__ import annotations

import json
import os
import platform
import secrets
import selectors
import subprocess
import sys
import sysconfig
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from layersig.errors import MachineError
from layersig.sandbox.scratch import scratch_folder, size_of
from layersig.sandbox.syscalls import ARCHITECTURES, seccomp_filter

Ended = Literal["completed", "raised", "not compiled", "exited", "timeout", "output", "disk", "died"]

_LAUNCHER = Path(__file__).with_name("launch.py")
_TICK = 0.05
_READ_AT_ONCE = 1 << 16
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/nix/store")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. It is one process with one thread, whatever the limits.

    Attributes:
        seconds: Wall-clock time, the start of the interpreter included.
        memory: Bytes of address space; a second NumPy takes about half a gigabyte.
        file_size: Bytes of any file that it writes.
        disk: Bytes of all that it keeps in its folder at any time, at least 4096 a file; looked at every 50 ms.
        output: Bytes of standard output and error together.
        open_files: Descriptors at a time.
    """

    seconds: float = 10.0
    memory: int = 1 << 30
    file_size: int = 1 << 24
    disk: int = 1 << 26
    output: int = 1 << 20
    open_files: int = 64


@dataclass(frozen=True, slots=True)
class Execution:
    """How a program ended.

    Attributes:
        ended: `completed`: it ran to its last line. `raised`: an exception left it. `not compiled`: it is no Python.
            `exited`: it called for the end. `timeout`, `output`, `disk`: it was killed at that limit. `died`: the
            process ended without a word, by a signal or `os._exit`.
        kinds: The exception's class and its base classes by name, most special first; empty without one.
        message: The exception's text, cut at 300 characters.
        output: What it printed, standard output and error as they came, cut at the limit.
    """

    ended: Ended
    kinds: tuple[str, ...]
    message: str
    output: str

    @property
    def passed(self) -> bool:
        """Whether it ran to its last line."""
        return self.ended == "completed"


def run(program: str, limits: Limits = Limits()) -> Execution:
    """Run a program confined: no file outside a scratch folder but the libraries of Python, no network, no process.

    Confinement protects the machine. It does not protect a verdict from a program that sets out to forge it.

    Args:
        program: Python source; run as `__main__` in an empty folder that is gone afterwards.
        limits: What it may use.

    Raises:
        MachineError: This machine cannot confine it; nothing was run.
    """
    if (reason := refusal()) is not None:
        raise MachineError(reason)
    return _run(program, limits)


@lru_cache(maxsize=1)
def refusal() -> str | None:
    """Why this machine cannot run programs confined, in one sentence; None when it can. Tried once."""
    advice = "model-written code is run only where Linux (5.13 or later, x86-64 or arm64) offers Landlock and seccomp"
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        return f"{platform.system()} on {platform.machine()} cannot confine a program; {advice}"
    try:
        for program, due in _TRIALS:
            found = _run(program, Limits(seconds=30))
            if (found.ended, found.message) != due:
                return f"this machine does not confine a program ({found.ended}: {found.message or program}); {advice}"
    except OSError as error:
        return f"this machine cannot confine a program ({error}); {advice}"
    return None


_TRIALS = (
    ("import math; assert math.gcd(12, 18) == 6", ("completed", "")),
    ("open('/etc/hostname')", ("raised", "[Errno 13] Permission denied: '/etc/hostname'")),
    ("import socket; socket.socket()", ("raised", "[Errno 1] Operation not permitted")),
    ("import os; os.fork()", ("raised", "[Errno 1] Operation not permitted")),
)


def _run(program: str, limits: Limits) -> Execution:
    token = secrets.token_hex(16)
    listen, tell = os.pipe()
    with scratch_folder() as folder, os.fdopen(listen, "rb") as told:
        order = {
            **asdict(limits),
            "cpu_seconds": int(limits.seconds) + 1,
            "program": program,
            "token": token,
            "tell": tell,
            "scratch": str(folder),
            "readable": _libraries(),
            "filter": seccomp_filter(platform.machine()).hex(),
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", str(_LAUNCHER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(tell,),
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )
        finally:
            os.close(tell)
        with process:
            try:
                ended, output = _attend(process, json.dumps(order).encode(), folder, limits)
            finally:
                process.kill()
        said = _said(told.read(_READ_AT_ONCE) if ended is None else b"", token)
    text = output[: limits.output].decode("utf-8", "replace")
    if ended is not None:
        return Execution(ended, (), "", text)
    if said is None:
        return Execution("died", (), f"the process ended with {process.returncode}", text)
    if said["ended"] == "unconfined":
        raise OSError(said["message"])
    return Execution(said["ended"], tuple(said["kinds"]), said["message"], text)


def _attend(process: subprocess.Popen[bytes], order: bytes, folder: Path, limits: Limits) -> tuple[Ended | None, bytes]:
    """Hand over the order, then watch until the process ends (None) or meets a limit."""
    assert process.stdin is not None
    assert process.stdout is not None
    deadline = time.monotonic() + limits.seconds
    try:
        process.stdin.write(order)
        process.stdin.close()
    except BrokenPipeError:
        return None, b""
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            if selector.get_map():
                for key, _ in selector.select(0 if ended else _TICK):
                    part = os.read(key.fd, _READ_AT_ONCE)
                    output += part
                    if not part:
                        selector.unregister(process.stdout)
                    ended = ended and not part
            elif not ended:
                time.sleep(_TICK)
            if len(output) > limits.output:
                return "output", bytes(output)
            if ended:
                return None, bytes(output)
            if time.monotonic() > deadline:
                return "timeout", bytes(output)
            if size_of(folder, process.pid) > limits.disk:
                return "disk", bytes(output)


def _said(raw: bytes, token: str) -> dict[str, Any] | None:
    """The launcher's line among whatever else was written there."""
    for line in raw.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("token") == token:
            return said
    return None


def _libraries() -> list[str]:
    """What Python and its compiled packages read: nothing of the user's."""
    paths = sysconfig.get_paths()
    own = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], f"{sys.base_prefix}/lib"]
    return sorted({*own, *_SYSTEM_LIBRARIES, "/dev/urandom"})


def _environment(folder: Path) -> dict[str, str]:
    single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", **single}
