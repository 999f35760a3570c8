"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import Any

_PACKAGES = (
    "layersig",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "lm-eval",
    "datasets",
    "safetensors",
    "tokenizers",
    "numpy",
    "scipy",
    "bitsandbytes",
)


@cache
def versions() -> Mapping[str, str]:
    """Versions of Python and of every installed package that results may depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def packages() -> Mapping[str, str]:
    """Version of every distribution that this Python can import, by its normalised name, sorted by name.

    Of several of one name, the first on the path counts: it is the one that is imported.
    """
    found: dict[str, str] = {}
    for each in distributions():
        name = each.metadata["Name"]  # None for what a broken installation left behind
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), each.version)
    return dict(sorted(found.items()))


def machine() -> dict[str, Any]:
    """Processor, cores, memory and operating system."""
    import psutil

    return {
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  # Linux reports it only here
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
