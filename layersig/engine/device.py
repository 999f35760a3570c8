"""The device where stages run: what their results depend on there, and what it draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from layersig.engine.energy import EnergyMeter, Watts, gpu_power, zones
from layersig.pipeline import Stage
from layersig.recipe.schema import Recipe


def numerics(recipe: Recipe) -> Mapping[str, Any]:
    """What the results of a recipe depend on besides its inputs, on this machine."""
    from layersig.fast.numerics import numerics_key
    from layersig.models.devices import pick_device, pick_dtype

    model = recipe.model
    device = pick_device(model.device)
    dtype = pick_dtype(model.dtype, device).dtype
    return numerics_key(device, dtype, quantization=model.quantization, fast=model.fast)


@dataclass(frozen=True)
class Device:
    """The device where stages run.

    Attributes:
        numerics: What results depend on besides their inputs.
        about: What else the manifest says of it.
    """

    numerics: Mapping[str, Any]
    about: Mapping[str, Any]


def device_of(recipe: Recipe) -> Device:
    """The device that a recipe computes on in this process."""
    from layersig.models.accelerator import accelerator
    from layersig.models.devices import pick_device, pick_dtype

    device = pick_device(recipe.model.device)
    about = {**accelerator(device), "dtype_reason": pick_dtype(recipe.model.dtype, device).reason}
    return Device(numerics(recipe), about)


def meters(recipe: Recipe) -> Callable[[Stage], EnergyMeter]:
    """A meter for every stage: of the processor, and of the GPU for stages that compute on one."""
    processor = zones()

    @cache
    def accelerator() -> Watts | None:
        from layersig.models.devices import pick_device

        return gpu_power(str(pick_device(recipe.model.device)))

    return lambda stage: EnergyMeter(processor, accelerator() if stage.computes else None)
