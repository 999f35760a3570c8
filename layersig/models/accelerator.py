"""What the accelerator is called, and which driver and runtime serve it: for the records, never for results."""

from __future__ import annotations

import re
from pathlib import Path

import torch

_NVIDIA = Path("/proc/driver/nvidia/version")
_DRIVER = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")


def accelerator(device: torch.device) -> dict[str, str | float]:
    """Name, memory, driver and runtime of the device that a run computes on; empty for a CPU.

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
        "driver": driver(),
        "cuda": torch.version.cuda,
        "rocm": torch.version.hip,
    }
    return {key: value for key, value in found.items() if value is not None}


def driver(path: Path = _NVIDIA) -> str | None:
    """Version of NVIDIA's kernel driver; None where there is none, or where the system does not say."""
    try:
        found = _DRIVER.search(path.read_text(encoding="utf-8", errors="replace").partition("\n")[0])
    except OSError:
        return None
    return found.group() if found else None
