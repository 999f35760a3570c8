"""The system calls that a confined program may make, as a seccomp filter. Standard library only.

Everything that is not listed fails with EPERM: no socket that reaches anybody, no process, no other program, no signal
to others, no change of owner, mode, time stamp or limit, nothing that takes a capability. Files are left to Landlock.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Name: number on x86-64, on arm64 (None where there is no such call).
ALLOWED: Mapping[str, tuple[int | None, int | None]] = {
    # files that Landlock lets it open, and pipes
    "read": (0, 63),
    "write": (1, 64),
    "open": (2, None),
    "openat": (257, 56),
    "close": (3, 57),
    "close_range": (436, 436),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "readv": (19, 65),
    "writev": (20, 66),
    "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fadvise64": (221, 223),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "flock": (73, 32),
    "umask": (95, 166),
    "fchdir": (81, 50),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "select": (23, None),
    "pselect6": (270, 72),
    "poll": (7, None),
    "ppoll": (271, 73),
    "eventfd2": (290, 19),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    # one end of a pair of sockets (`socketpair` below) talks to the other
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "shutdown": (48, 210),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "getsockopt": (55, 209),
    # memory
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "msync": (26, 227),
    "madvise": (28, 233),
    "brk": (12, 214),
    # its own signals, time and identity
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137),
    "pause": (34, None),
    "restart_syscall": (219, 128),
    "alarm": (37, None),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getpgrp": (111, None),
    "getpgid": (121, 155),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getsid": (124, 156),
    "getcpu": (309, 168),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    "getrandom": (318, 278),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sched_getscheduler": (145, 120),
    "sched_getparam": (143, 121),
    "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    "membarrier": (324, 283),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "arch_prctl": (158, None),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
TRUNCATION: Mapping[str, tuple[int | None, int | None]] = {"truncate": (76, 45)}
_THREAD, _LOCAL_SOCKET, _STREAM, _NONBLOCKING, _CLOSED_ON_EXEC = 0x10000, 1, 1, 0x800, 0x80000
_OWN_PRIORITY, _SET_NAME, _GET_NAME, _LOWEST_PRIORITY = 0, 15, 16, 19
_TRUNCATION_SINCE = 3
"""Version of Landlock that restricts `truncate` to files that may be written."""

# Calls that the system's libraries try first, and whose absence they get over: with their own error.
ABSENT: Mapping[str, tuple[tuple[int, int], int]] = {
    "clone3": ((435, 435), errno.ENOSYS),  # its flags are behind a pointer, out of a filter's sight; `clone` follows
    "setxattr": ((188, 5), errno.ENOTSUP),
    "lsetxattr": ((189, 6), errno.ENOTSUP),
    "fsetxattr": ((190, 7), errno.ENOTSUP),
    "getxattr": ((191, 8), errno.ENOTSUP),
    "lgetxattr": ((192, 9), errno.ENOTSUP),
    "fgetxattr": ((193, 10), errno.ENOTSUP),
    "listxattr": ((194, 11), errno.ENOTSUP),
    "llistxattr": ((195, 12), errno.ENOTSUP),
    "flistxattr": ((196, 13), errno.ENOTSUP),
}
ARCHITECTURES: Mapping[str, tuple[int, int]] = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By name of the machine: place in the tables above, and number of the architecture in `struct seccomp_data`."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """An argument whose lower 32 bits are one of these."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """An argument that has this bit."""

    argument: int
    bit: int


@dataclass(frozen=True, slots=True)
class AtMost:
    """An argument whose lower 32 bits, without a sign, are at most this."""

    argument: int
    value: int


@dataclass(frozen=True, slots=True)
class Null:
    """An argument that is a null pointer."""

    argument: int


Condition = OneOf | Flag | AtMost | Null


def conditional(process: int) -> Mapping[str, tuple[tuple[int, int], Sequence[Condition]]]:
    """Calls that are allowed with some arguments only, and what must hold of those.

    Args:
        process: The confined process, whose own threads it may send signals.
    """
    stream = tuple(_STREAM | a | b for a in (0, _NONBLOCKING) for b in (0, _CLOSED_ON_EXEC))
    itself = OneOf(1, (0, process))
    return {
        # without the commands by which a file's owner is sent a signal of choice: dup, flags and locks
        "fcntl": ((72, 25), [OneOf(1, (0, 1, 2, 3, 4, 5, 6, 7, 1030))]),
        "ioctl": (
            (16, 29),
            [OneOf(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451))],
        ),  # size, bytes, flags
        "clone": ((56, 220), [Flag(0, _THREAD)]),
        "kill": ((62, 129), [OneOf(0, (process,))]),
        "tgkill": ((234, 131), [OneOf(0, (process,))]),
        "socketpair": ((53, 199), [OneOf(0, (_LOCAL_SOCKET,)), OneOf(1, stream)]),
        "getpriority": ((140, 141), [OneOf(0, (_OWN_PRIORITY,)), itself]),
        "setpriority": ((141, 140), [OneOf(0, (_OWN_PRIORITY,)), itself, AtMost(2, _LOWEST_PRIORITY)]),
        "prlimit64": ((302, 261), [OneOf(0, (0, process)), Null(2)]),  # limits are read, not set
        "prctl": ((157, 167), [OneOf(0, (_SET_NAME, _GET_NAME))]),
    }


_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_KILL_PROCESS, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000

_Line = tuple[int, int, int, int]


def seccomp_filter(machine: str, process: int, landlock: int) -> bytes:
    """The filter as an array of `struct sock_filter`; a call of another architecture kills the process.

    Args:
        machine: A key of `ARCHITECTURES`.
        process: The process to be confined.
        landlock: Version of the kernel's Landlock.
    """
    column, architecture = ARCHITECTURES[machine]
    allowed = {**ALLOWED, **(TRUNCATION if landlock >= _TRUNCATION_SINCE else {})}
    lines: list[_Line] = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL_PROCESS)]
    lines.append((_LOAD, 0, 0, _NUMBER))
    for numbers in allowed.values():
        if (number := numbers[column]) is not None:
            lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for numbers, error in ABSENT.values():
        lines += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ERROR | error)]
    for numbers, conditions in conditional(process).values():
        block = _block(conditions)
        lines += [(_EQUAL, 0, len(block), numbers[column]), *block]
    lines.append((_RETURN, 0, 0, _ERROR | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _block(conditions: Sequence[Condition]) -> list[_Line]:
    """Allows where all conditions hold, and else fails; written from its end, to which failed conditions jump."""
    block: list[_Line] = [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR | errno.EPERM)]
    for condition in reversed(conditions):
        fail = len(block) - 1
        match condition:
            case OneOf(argument, values):
                tests = [
                    (_EQUAL, left, 0 if left else fail, value)
                    for left, value in zip(range(len(values) - 1, -1, -1), values, strict=True)
                ]
                block = [_lower(argument), *tests, *block]
            case AtMost(argument, value):
                block = [_lower(argument), (_GREATER, fail, 0, value), *block]
            case Flag(argument, bit):
                block = [_lower(argument), (_ANY_BIT, 0, fail, bit), *block]
            case Null(argument):
                higher = (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4)
                block = [_lower(argument), (_EQUAL, 0, fail + 2, 0), higher, (_EQUAL, 0, fail, 0), *block]
    return block


def _lower(argument: int) -> _Line:
    return _LOAD, 0, 0, _ARGUMENTS + 8 * argument
