"""Entry point of the confined process: gives up everything but a scratch folder, then runs the given program.

A script that needs the standard library alone. It reads one JSON object from standard input (`run.py` writes it), and
writes on the descriptor named there: one line on whether this process is confined, and at the end how the program
ended. Files are taken away by Landlock (see the kernel's documentation, userspace-api/landlock; whatever the kernel's
version can restrict is restricted), all system calls but harmless ones by seccomp, the rest by resource limits.

What the kernel refuses, Python explains: an audit hook names what a program may not do before the kernel is asked.
What is harmless in the scratch folder, although no filter can limit it to that folder, has stand-ins (`standins.py`).
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib.util
import json
import os
import resource
import signal
import sys
import threading
import types
from collections.abc import Iterable
from typing import Any, NoReturn

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH, _ASK_VERSION = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REGULAR = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_LINK, _MOVE = 1 << 12, 1 << 13
_READ = _READ_FILE | _READ_DIR
_CHANGE = _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REGULAR | _MAKE_LINK | _MOVE
_WRITE = _READ | _CHANGE
_OF_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Number of rights on files by version of Landlock; 16 since version 5."""
_TCP_SINCE, _TCP = 4, 0b11
_SCOPES_SINCE, _SIGNALS_AND_SOCKETS = 6, 0b11

_PARENT_DEATH_SIGNAL, _SET_SECCOMP, _NO_NEW_PRIVILEGES, _FILTER_MODE = 1, 22, 38, 2
_LONGEST_MESSAGE = 300
_PROGRAM = "<program>"
_MODULE = "__program__"
"""What a program sees as `__name__`: what it would do only as a script, behind its functions, is no test of them."""
_REFUSED = "not allowed here"
_PROCESSES, _NETWORK = "processes", "network"
_EVENTS = {
    "os.exec": _PROCESSES,
    "os.fork": _PROCESSES,
    "os.forkpty": _PROCESSES,
    "os.posix_spawn": _PROCESSES,
    "os.spawn": _PROCESSES,
    "os.system": _PROCESSES,
    "pty.spawn": _PROCESSES,
    "subprocess.Popen": _PROCESSES,
    "socket.bind": _NETWORK,
    "socket.connect": _NETWORK,
    "socket.getaddrinfo": _NETWORK,
    "socket.gethostbyaddr": _NETWORK,
    "socket.gethostbyname": _NETWORK,
}
"""What Python's audit events (see its documentation, "Audit events table") would do."""
_LOCAL_SOCKET = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _restrict_files(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Give up every file that is not below one of these paths; missing paths are passed over."""
    version = landlock_version()
    handled = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    network = _TCP if version >= _TCP_SINCE else 0
    scoped = _SIGNALS_AND_SOCKETS if version >= _SCOPES_SINCE else 0
    size = ctypes.c_size_t(24 if scoped else 16 if network else 8)
    rules = _Ruleset(handled, network, scoped)
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, ctypes.c_uint32(0)))
    for paths, rights in ((readable, _READ), (writable, _WRITE)):
        for path in paths:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            # Rights that only a folder can have are refused for a file.
            of_kind = rights if os.path.isdir(path) else rights & _OF_FILES  # noqa: PTH112
            rule = ctypes.byref(_PathBeneath(of_kind & handled, place))
            kind, none = ctypes.c_int(_RULE_PATH_BENEATH), ctypes.c_uint32(0)
            _checked(_libc.syscall(_ADD_RULE, ctypes.c_int(ruleset), kind, rule, none))
            os.close(place)
    _checked(_libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    os.close(ruleset)


def landlock_version() -> int:
    """Version of the kernel's Landlock.

    Raises:
        OSError: The kernel has none.
    """
    return _checked(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)))


def _confine(order: dict[str, Any]) -> None:
    """Each step only takes away, and none can be undone."""
    _checked(_libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0))
    _checked(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _restrict_files(order["readable"], [order["scratch"], os.devnull])
    limits = {
        resource.RLIMIT_AS: order["memory"],
        resource.RLIMIT_CPU: order["cpu_seconds"],
        resource.RLIMIT_FSIZE: order["file_size"],
        resource.RLIMIT_NOFILE: order["open_files"],
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    instructions = bytes.fromhex(order["filter"])
    program = _Filter(len(instructions) // 8, instructions)
    _checked(_libc.prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.byref(program), 0, 0))


def _explain(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: says in words what the kernel would refuse with a number."""
    what = _EVENTS.get(event)
    if event == "socket.__new__" and arguments[1] != _LOCAL_SOCKET:
        what = _NETWORK
    if event in ("os.kill", "os.killpg") and arguments[0] != os.getpid():
        what = "signals to other processes"
    if what is not None:
        raise PermissionError(1, f"{_REFUSED}: {what}")


def _sibling(name: str) -> types.ModuleType:
    """A module beside this script: the package itself is not imported here."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), f"{name}.py"))  # noqa: PTH118, PTH120
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_over(source: str, error: SystemExit) -> bool:
    """Whether a library that the program's last statement called ended it with success, as `unittest.main()` does.

    An exit that the program's own code asks for may come before its tests.
    """
    frames, inner, trace = [], "", error.__traceback__
    while trace is not None:
        inner = trace.tb_frame.f_code.co_filename
        if inner == _PROGRAM:
            frames.append(trace.tb_lineno)
        trace = trace.tb_next
    last = ast.parse(source).body[-1]
    return error.code in (None, 0) and inner.endswith(".py") and len(frames) == 1 and frames[0] >= last.lineno


def _kinds(error: BaseException) -> list[str]:
    """Names of an exception's class and its bases, most special first."""
    try:
        return [str(each.__name__) for each in type(error).__mro__[:-1]]
    except BaseException:  # what a program makes of a class may raise anything
        return []


def _message(error: BaseException) -> str:
    """The text of an exception, with a note on a refusal that gives no reason."""
    try:
        message, cause = str(error)[:_LONGEST_MESSAGE], error
        while _REFUSED not in message and cause is not None:
            if isinstance(cause, PermissionError) and cause.errno == 1:
                message = f"{message} ({cause.strerror if _REFUSED in str(cause.strerror) else _REFUSED})"
            cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
        return message.encode("utf-8", "replace").decode()
    except BaseException:  # see above
        return ""


def main() -> NoReturn:
    """Confine this process, run the program, say how it ended."""
    order = json.loads(sys.stdin.buffer.read())
    tell, token, source = order["tell"], order["token"], order["program"]
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def told(ended: str, error: BaseException | None = None) -> NoReturn:
        kinds, message = ([], "") if error is None else (_kinds(error), _message(error))
        with contextlib.suppress(BaseException):  # a program may have put anything in its place
            sys.stdout.flush()
        line = json.dumps({"token": token, "ended": ended, "kinds": kinds, "message": message})
        os.write(tell, f"\n{line}\n".encode())
        os._exit(0)

    stand_ins = _sibling("standins")
    try:
        _confine(order)
    except OSError as error:
        os.write(tell, f"unconfined: {error}\n".encode())
        os._exit(0)
    os.write(tell, b"confined\n")
    stand_ins.install(order["errands"])
    sys.argv = [_PROGRAM]
    try:
        code = compile(source, _PROGRAM, "exec", dont_inherit=True)  # annotations count, as in a file of its own
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        told("not compiled", error)
    # What looks a class or a function up by its module (pickle, doctest, typing) must find the program, not this file.
    module = types.ModuleType(_MODULE)
    sys.modules.update({_MODULE: module, "__main__": module})
    sys.addaudithook(_explain)
    try:
        exec(code, module.__dict__)
        threading._shutdown()  # type: ignore[attr-defined]  # waits for its threads, as the interpreter does at its end
    except SystemExit as error:
        if not _is_over(source, error):
            told("exited", error)
    except BaseException as error:
        told("raised", error)
    told("completed")


if __name__ == "__main__":
    main()
