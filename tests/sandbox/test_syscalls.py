from __future__ import annotations

import struct

import pytest

from layersig.sandbox.syscalls import ABSENT, ALLOWED, ARCHITECTURES, TRUNCATION, conditional, seccomp_filter

ALLOW, REFUSE, KILL, FAIL = 0x7FFF0000, 0x00050001, 0x80000000, 0x00050000
OWN, WIDE, MINUS_ONE = 4321, 1 << 40, 0xFFFFFFFF


def outcome(program: bytes, number: int, arguments: tuple[int, ...], architecture: int) -> int:
    """What a filter of system calls returns: an interpreter of the few instructions that it is made of."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(*arguments, *[0] * 6)[:6])
    lines = list(struct.iter_unpack("=HBBI", program))
    place = value = 0
    while True:
        code, true, false, constant = lines[place]
        place += 1
        if code == 0x06:
            return int(constant)
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, constant)
        else:
            holds = {0x15: value == constant, 0x25: value > constant, 0x45: bool(value & constant)}[code]
            place += true if holds else false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_is_listed_is_allowed_and_nothing_else(machine: str) -> None:
    column, architecture = ARCHITECTURES[machine]
    program = seccomp_filter(machine, OWN, 7)
    listed = {numbers[column] for numbers in [*ALLOWED.values(), *TRUNCATION.values()]} - {None}
    absent = {numbers[column]: error for numbers, error in ABSENT.values()}
    special = {numbers[column] for numbers, _ in conditional(OWN).values()}
    assert not listed & absent.keys()
    assert not (listed | absent.keys()) & special
    for number in set(range(500)) - special:
        due = ALLOW if number in listed else FAIL | absent[number] if number in absent else REFUSE
        assert outcome(program, number, (), architecture) == due, number
    assert outcome(program, 0, (), 3) == KILL
    assert not {"socket", "connect", "clone", "fork", "kill", "ptrace", "execve", "chmod", "fchmod", "chown"} & set(
        ALLOWED
    )


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize(
    ("name", "arguments", "due"),
    [
        ("clone", (0x3D0F00,), ALLOW),  # what pthread_create asks for
        ("clone", (17,), REFUSE),  # what fork asks for
        ("clone", (0x4111,), REFUSE),  # vfork
        ("kill", (OWN, 9), ALLOW),
        ("kill", (1, 9), REFUSE),
        ("kill", (0, 9), REFUSE),
        ("kill", (MINUS_ONE, 9), REFUSE),
        ("tgkill", (OWN, 5, 9), ALLOW),
        ("tgkill", (5, OWN, 9), REFUSE),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (1, 0x80801), ALLOW),
        ("socketpair", (1, 2), REFUSE),
        ("socketpair", (2, 1), REFUSE),
        ("setpriority", (0, 0, 19), ALLOW),
        ("setpriority", (0, OWN, 0), ALLOW),
        ("setpriority", (0, 0, MINUS_ONE), REFUSE),
        ("setpriority", (0, 5, 19), REFUSE),
        ("setpriority", (2, 0, 19), REFUSE),
        ("prlimit64", (0, 9, 0, 8), ALLOW),
        ("prlimit64", (0, 9, 8, 0), REFUSE),
        ("prlimit64", (0, 9, WIDE, 0), REFUSE),
        ("prlimit64", (5, 9, 0, 8), REFUSE),
        ("prctl", (15,), ALLOW),
        ("prctl", (4,), REFUSE),
        ("fcntl", (3, 1), ALLOW),
        ("fcntl", (3, 1030), ALLOW),
        ("fcntl", (3, 8), REFUSE),  # F_SETOWN
        ("ioctl", (3, 0x5421), ALLOW),
        ("ioctl", (3, 0x5412), REFUSE),  # TIOCSTI
    ],
)
def test_arguments_count(machine: str, name: str, arguments: tuple[int, ...], due: int) -> None:
    column, architecture = ARCHITECTURES[machine]
    numbers, _ = conditional(OWN)[name]
    assert outcome(seccomp_filter(machine, OWN, 7), numbers[column], arguments, architecture) == due


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_truncation_needs_a_landlock_that_restricts_it(machine: str) -> None:
    column, architecture = ARCHITECTURES[machine]
    number = TRUNCATION["truncate"][column]
    assert number is not None
    found = [outcome(seccomp_filter(machine, OWN, version), number, (), architecture) for version in (1, 2, 3, 7)]
    assert found == [REFUSE, REFUSE, ALLOW, ALLOW]
