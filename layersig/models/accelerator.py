"""What the accelerator is called, what it consists of, and which driver and libraries serve it.

On CUDA results depend on all of it in their last digits: libraries choose kernels by the number of multiprocessors, and
random numbers are laid out by it.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

_NVIDIA = Path("/proc/driver/nvidia/version")
_DRIVER = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")


def accelerator(device: torch.device) -> dict[str, str | float]:
    """Name, memory, capability, driver and libraries of the device that a run computes on; empty for a CPU.

    Args:
        device: The device. What the machine does not say of it is left out.
    """
    if device.type == "mps":
        return {"accelerator": "Apple GPU"}
    if device.type != "cuda":
        return {}
    about = torch.cuda.get_device_properties(device)
    found: dict[str, str | float | None] = {
        "accelerator": about.name,
        "accelerator_gib": round(about.total_memory / 2**30, 1),
        "multiprocessors": about.multi_processor_count,
        "capability": f"{about.major}.{about.minor}",
        "driver": driver(),
        "cuda": torch.version.cuda,
        "cudnn": _cudnn(),
        "rocm": torch.version.hip,
    }
    return {key: value for key, value in found.items() if value is not None}


def _cudnn() -> str | None:
    number = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return None if number is None else str(number)


def driver(path: Path = _NVIDIA) -> str | None:
    """Version of NVIDIA's kernel driver; None where there is none, or where the system does not say."""
    try:
        found = _DRIVER.search(path.read_text(encoding="utf-8", errors="replace").partition("\n")[0])
    except OSError:
        return None
    return found.group() if found else None
