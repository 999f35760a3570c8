"""The failures that `layersig` tells apart, one exit code each.

A message is for the person who reads it: where it happened, what was found, what to do about it.
"""

from __future__ import annotations


class LayersigError(Exception):
    """Root of every error that the command line turns into one message without a traceback."""

    exit_code = 1


class UserError(LayersigError):
    """The recipe, an argument, a data row, a checkpoint or a plugin is wrong; changing the input mends it."""

    exit_code = 2


class MachineError(LayersigError):
    """The machine or the network is in the way: disk, memory, device, a hub that cannot be reached."""

    exit_code = 3


class StageFailed(LayersigError):
    """A stage broke off (a loss turned NaN, a kernel failed); what was whole before it is kept."""

    exit_code = 1
