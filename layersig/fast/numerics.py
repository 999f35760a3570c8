"""Identifiers of the optimised code paths, and the part of a fingerprint that they belong to.

Rename a path whenever its arithmetic changes: its name is in the fingerprint of every stage that computes.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

LORA_LINEAR = "lora-linear"
PACKED_ATTENTION = "packed-attention"
KEPT_PREFIX = "kept-prefix"
HEAD_IN_PIECES = "head-in-pieces"
TOKEN_TREES = "token-trees"
LANES = "lanes"

LOW_RANK_PART = "low-rank-part"
TIGHT_SLICES = "tight-slices"
VARLEN_ATTENTION = "varlen-attention"
COUNTED_DROPOUT = "counted-dropout"
REFILLED_ROWS = "refilled-rows"

FAST_PATHS = (LORA_LINEAR, PACKED_ATTENTION, KEPT_PREFIX, HEAD_IN_PIECES, TOKEN_TREES, LANES)
"""On a CPU."""
GPU_PATHS = (
    LORA_LINEAR,
    LOW_RANK_PART,
    TIGHT_SLICES,
    VARLEN_ATTENTION,
    COUNTED_DROPOUT,
    KEPT_PREFIX,
    HEAD_IN_PIECES,
    TOKEN_TREES,
    REFILLED_ROWS,
)
"""On any other device."""


def numerics_key(device: torch.device, dtype: torch.dtype, *, fast: bool = True) -> dict[str, Any]:
    """What the last digits of a result depend on, apart from the inputs; part of every stage's fingerprint.

    Args:
        device: Where the model is.
        dtype: Of its weights.
        fast: Whether the optimised paths are used; without them the key lists none.
    """
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        kernels = f"sm_{major}{minor}, tf32 {torch.backends.cuda.matmul.allow_tf32}"
    else:
        kernels = torch.backends.cpu.get_cpu_capability()
    return {
        "device": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "kernels": kernels,
        "paths": list(FAST_PATHS if device.type == "cpu" else GPU_PATHS) if fast else [],
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        **{package: ".".join(version(package).split(".")[:2]) for package in ("torch", "transformers", "peft")},
    }
