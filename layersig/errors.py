"""The failures that `layersig` tells apart, one exit code each.

A message is for the person who reads it: where it happened, what was found, what to do about it.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Self


class LayersigError(Exception):
    """Root of every error that the command line turns into one message without a traceback."""

    exit_code = 1

    def at(self, place: str) -> Self:
        """The same failure, whose message begins with where it happened."""
        return type(self)(f"{place}: {self.args[0]}", *self.args[1:])


class UserError(LayersigError):
    """The recipe, an argument, a data row, a checkpoint or a plugin is wrong; changing the input mends it."""

    exit_code = 2


class MachineError(LayersigError):
    """The machine or the network is in the way: disk, memory, device, a hub that cannot be reached."""

    exit_code = 3


class StageFailed(LayersigError):
    """A stage broke off (a loss turned NaN, a kernel failed); what was whole before it is kept."""

    exit_code = 1


class Diverged(StageFailed):
    """A training came to values that are not finite; with other settings it may not."""


_FOLDERS = "LAYERSIG_CACHE sets the folder of the cache, --runs that of runs"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"free some space, or use another disk: {_FOLDERS}"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
        f"use a folder that can be written: {_FOLDERS}",
    ),
}


def machine_error(error: OSError) -> MachineError:
    """What the operating system refused, in words: where, why, and what helps."""
    reason = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    remedy = _REMEDIES.get(error.errno or 0)
    return MachineError(f"{reason}; {remedy}" if remedy else reason)


_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "_status_alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the device or of the machine.

    torch raises a class of its own for its allocator on a GPU, and a bare RuntimeError for that on a CPU, for a library
    that finds no room for its workspace, and on MPS. All say so.
    """
    return isinstance(error, MemoryError) or any(each in str(error).lower() for each in _NO_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Whether an accelerator reported an error of its own, after which this process can seldom use it again."""
    return not is_out_of_memory(error) and any(each.__name__ == "AcceleratorError" for each in type(error).__mro__)


def is_machine_fault(error: BaseException) -> bool:
    """Whether an error that may come up anywhere says nothing about what was running: memory, or the accelerator."""
    return is_out_of_memory(error) or is_device_lost(error)


def first_few(names: Sequence[str], shown: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    first = ", ".join(names[:shown])
    return f"{first} and {len(names) - shown} more" if len(names) > shown else first


def one_line(error: BaseException) -> str:
    """What an error of another library says, its first paragraph in one line; its type where it says nothing."""
    return " ".join(str(error).strip().split("\n\n")[0].split()) or type(error).__name__
