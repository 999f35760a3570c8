"""Whatever the body of a stage raised, as one of the failures that layersig tells apart."""

from __future__ import annotations

from collections.abc import Iterable

from layersig.errors import (
    LayersigError,
    MachineError,
    StageFailed,
    is_device_lost,
    is_out_of_memory,
    machine_error,
    one_line,
)
from layersig.plugin.components import Component
from layersig.plugin.guard import blamed

_SMALLER = (
    "a single example did not fit, or what is needed beside the examples; shorten them (`max_tokens` of the data), set "
    "`train.gradient_checkpointing`, or train less: fewer layers, a lower rank, LoRA, `model.quantization`"
)


def known_failure(error: BaseException, components: Iterable[Component]) -> LayersigError:
    """Whatever a stage with these components raised as one of the failures that layersig tells apart."""
    if isinstance(error, LayersigError):
        return error
    if is_out_of_memory(error):
        return StageFailed(f"out of memory ({one_line(error)}); {_SMALLER}")
    if is_device_lost(error):
        return MachineError(
            f"the accelerator failed ({one_line(error)}) and cannot be used any more by this process; run again to "
            "continue, and look at the system's log of the device if it happens again"
        )
    if isinstance(error, OSError):
        return machine_error(error)
    return StageFailed(blamed(error, components) or f"{type(error).__name__}: {error}")
