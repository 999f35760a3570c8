"""What a training holds besides its activations, by numbers alone: known before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from layersig.recipe.schema import AUTO_TOKENS_ON_CPU, MOMENT_BYTES, TokenBudget, TrainSettings

if TYPE_CHECKING:
    import torch

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a value in 4 bits, with its scales and theirs (arXiv 2305.14314, section 3)."""
BUFFER = 4 * 2**30
"""Bytes of gradients, covariances and the like of several layers that are in memory at once; what takes more is
computed for some layers at a time."""
Item = TypeVar("Item")
_VALUE = 8.0
"""Bytes of a trained value and of its gradient, both float32."""
_SMALLER = ("adamw-bf16", "adamw-8bit", "paged-adamw-8bit")


def portions(items: Iterable[Item], size: Callable[[Item], int], room: int = BUFFER) -> Iterator[list[Item]]:
    """Items in their order, as many at a time as take at most `room` bytes, and at least one."""
    portion: list[Item] = []
    taken = 0
    for item in items:
        own = size(item)
        if portion and taken + own > room:
            yield portion
            portion, taken = [], 0
        portion.append(item)
        taken += own
    if portion:
        yield portion


def state_bytes(values: float, settings: TrainSettings) -> float:
    """Bytes of what is trained, of its gradient and of its moments."""
    return values * (_VALUE + MOMENT_BYTES[settings.optimizer])


def model_bytes(folder: Path, dtype: torch.dtype, *, nf4: bool) -> float:
    """Bytes of the weights of the model in a folder, from its configuration."""
    from layersig.models.layermap import layer_map, model_of_configuration

    model = model_of_configuration(folder)
    total = float(dtype.itemsize * sum(parameter.numel() for parameter in model.parameters()))
    return total - (dtype.itemsize - NF4_BYTES) * sum(each.parameters for each in layer_map(model)) * nf4


def capacity(device: torch.device) -> float:
    """Bytes of memory that a device has, used or not; of the host with its swap space where the device is no GPU."""
    import psutil
    import torch

    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(psutil.virtual_memory().total + psutil.swap_memory().total)


def why_too_large(weights: float, values: float, settings: TrainSettings, room: float) -> str | None:
    """Why a training cannot fit into a memory whatever its batches are, and what would make it; None where it may.

    Args:
        weights: Bytes of the model.
        values: Values that are trained.
        settings: The training.
        room: Bytes of the memory.
    """
    needed = weights + state_bytes(values, settings)
    if needed <= room:
        return None
    smaller = (each for each in _SMALLER if MOMENT_BYTES[each] < MOMENT_BYTES[settings.optimizer])
    fitting = next(
        (
            each
            for each in smaller
            if weights + state_bytes(values, settings.model_copy(update={"optimizer": each})) <= room
        ),
        None,
    )
    cure = "" if fitting is None else f'set train.optimizer = "{fitting}", '
    return (
        f"the model takes {weights:,.0f} bytes and what is trained takes {needed - weights:,.0f} with gradients and "
        f"moments, {needed:,.0f} together before a single activation, and the device has {room:,.0f}; {cure}tune fewer "
        'layers, train factors (train.method = "lora"), or take a larger device (`layersig plan RECIPE --cards`)'
    )


def planned_tokens(budget: TokenBudget) -> int:
    """Tokens of a micro-batch for which memory is counted: as many as on a CPU where the device is to choose."""
    return AUTO_TOKENS_ON_CPU if budget == "auto" else budget
