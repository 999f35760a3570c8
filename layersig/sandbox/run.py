"""Runs one Python program confined by the kernel, and returns how it ended."""

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
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from layersig.errors import MachineError
from layersig.sandbox.errands import Errands
from layersig.sandbox.launch import landlock_version
from layersig.sandbox.scratch import scratch_folder, size_of
from layersig.sandbox.syscalls import ARCHITECTURES, seccomp_filter

Ended = Literal["completed", "raised", "not compiled", "exited", "timeout", "output", "disk", "threads", "died"]

_SAID: Sequence[Ended] = ("completed", "raised", "not compiled", "exited")

_LAUNCHER = Path(__file__).with_name("launch.py")
_TICK = 0.05
_READ_AT_ONCE = 1 << 16
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/nix/store")
_SYSTEM_TABLES = ("/usr/share/zoneinfo", "/etc/localtime", "/etc/mime.types", "/dev/urandom", "/dev/zero")
_ONE_THREAD = ("OMP", "OPENBLAS", "MKL")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. It is one process, whatever the limits.

    Attributes:
        seconds: Wall-clock time, the start of the interpreter included.
        memory: Bytes of address space; a second NumPy takes about half a gigabyte.
        file_size: Bytes of any file that it writes.
        disk: Bytes of all that it keeps in its folder at any time, at least 4096 a file; looked at every 50 ms.
        output: Bytes of standard output and error together.
        open_files: Descriptors at a time.
        threads: Threads at a time; looked at every 50 ms.
    """

    seconds: float = 10.0
    memory: int = 1 << 30
    file_size: int = 1 << 24
    disk: int = 1 << 26
    output: int = 1 << 20
    open_files: int = 64
    threads: int = 64


@dataclass(frozen=True, slots=True)
class Execution:
    """How a program ended.

    Attributes:
        ended: `completed`: it ran to its last line, and its threads ended. `raised`: an exception left it. `not
            compiled`: it is no Python. `exited`: it called for the end, other than by a library with success in its
            last statement (`unittest.main()`). `timeout`, `output`, `disk`, `threads`: it was killed at that limit.
            `died`: the process ended without a word, by a signal or `os._exit`.
        kinds: The exception's class and its base classes by name, most special first; empty without one.
        message: The exception's text, cut at 300 characters; it holds "not allowed here" where confinement is the
            reason.
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
        program: Python source; run in an empty folder that is gone afterwards, under another name than `__main__`, so
            that what stands behind `if __name__ == "__main__"` is passed over, as by lm-eval's `code_eval`.
        limits: What it may use.

    Raises:
        MachineError: This machine cannot confine it, or could not start it; nothing was run.
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
    except (OSError, MachineError) as error:
        return f"this machine cannot confine a program ({error}); {advice}"
    return None


_TRIALS = (
    ("import math; assert math.gcd(12, 18) == 6", ("completed", "")),
    ("open('/etc/hostname')", ("raised", "[Errno 13] Permission denied: '/etc/hostname'")),
    *(
        # past Python, which would explain the refusal before the kernel is asked
        (f"import ctypes; c = ctypes.CDLL(None, use_errno=True); assert c.{call} == -1; print(ctypes.get_errno())", due)
        for call, due in (("socket(2, 1, 0)", ("completed", "")), ("fork()", ("completed", "")))
    ),
)


def _run(program: str, limits: Limits) -> Execution:
    token = secrets.token_hex(16)
    listen, tell = os.pipe()
    with scratch_folder() as folder, os.fdopen(listen, "rb") as report, closing(Errands(folder)) as errands:
        try:
            process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", str(_LAUNCHER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(tell, errands.ask.fileno()),
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )
        finally:
            os.close(tell)
        order = {
            **asdict(limits),
            "cpu_seconds": int(limits.seconds + 1) * (os.cpu_count() or 1),
            "program": program,
            "token": token,
            "tell": tell,
            "errands": errands.ask.fileno(),
            "scratch": str(folder),
            "readable": _readable(),
            "filter": seccomp_filter(platform.machine(), process.pid, landlock_version()).hex(),
        }
        with process:
            try:
                ended, output = _attend(process, json.dumps(order).encode(), folder, limits, errands)
            finally:
                process.kill()
        first, _, rest = report.read(_READ_AT_ONCE).partition(b"\n")
    text = output[: limits.output].decode("utf-8", "replace")
    if ended is not None:
        return Execution(ended, (), "", text)
    # The program cannot have written the first line: it is there before the program starts.
    if first != b"confined":
        said = first.decode("utf-8", "replace") or f"its process ended with {process.returncode} before it began"
        raise MachineError(f"a program could not be run confined ({said})")
    return _said(rest, token, text) or Execution("died", (), f"the process ended with {process.returncode}", text)


def _attend(
    process: subprocess.Popen[bytes], order: bytes, folder: Path, limits: Limits, errands: Errands
) -> tuple[Ended | None, bytes]:
    """Hand over the order, then watch until the process ends (None) or meets a limit."""
    assert process.stdin is not None
    assert process.stdout is not None
    deadline = time.monotonic() + limits.seconds
    try:
        process.stdin.write(order)
        process.stdin.close()
    except BrokenPipeError:
        return None, b""
    output, open_output = bytearray(), True
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(errands.listen, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            for key, _ in selector.select(0 if ended else _TICK):
                if key.fileobj is errands.listen:
                    if not errands.serve():
                        selector.unregister(errands.listen)
                    continue
                part = os.read(key.fd, _READ_AT_ONCE)
                output += part
                if not part:
                    selector.unregister(process.stdout)
                    open_output = False
            if len(output) > limits.output:
                return "output", bytes(output)
            if ended and not open_output:
                return None, bytes(output)
            if time.monotonic() > deadline:
                return "timeout", bytes(output)
            if size_of(folder, process.pid) > limits.disk:
                return "disk", bytes(output)
            if _threads(process.pid) > limits.threads:
                return "threads", bytes(output)


def _threads(process: int) -> int:
    try:
        return len(os.listdir(f"/proc/{process}/task"))  # noqa: PTH208
    except OSError:  # it ended
        return 0


def _said(raw: bytes, token: str, output: str) -> Execution | None:
    """How the program ended: the launcher's line among whatever else is there.

    A program can find the token and write such a line itself, so nothing is taken for granted but JSON.
    """
    for line in raw.splitlines():
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(said, dict) or said.get("token") != token:
            continue
        ended, kinds, message = (said.get(name) for name in ("ended", "kinds", "message"))
        if not isinstance(message, str) or not isinstance(kinds, list):
            continue
        for known in _SAID:
            if ended == known and all(isinstance(kind, str) for kind in kinds):
                return Execution(known, tuple(_text(kind) for kind in kinds), _text(message), output)
    return None


def _text(said: str) -> str:
    """A text that can be written: JSON may hold halves of surrogate pairs."""
    return said.encode("utf-8", "replace").decode()


def _readable() -> list[str]:
    """What Python, its compiled packages and its tables of time zones read: nothing of the user's."""
    paths = sysconfig.get_paths()
    own = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], f"{sys.base_prefix}/lib"]
    return sorted({*own, *_SYSTEM_LIBRARIES, *_SYSTEM_TABLES})


def _environment(folder: Path) -> dict[str, str]:
    single = {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    return {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        **single,
    }
