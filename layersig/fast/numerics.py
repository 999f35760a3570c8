"""Identifiers of the optimised code paths, and the part of a fingerprint that they belong to.

Rename a path whenever its arithmetic changes: its name is in the fingerprint of every stage that computes.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from layersig.models.accelerator import accelerator

LORA_LINEAR = "lora-linear"
PACKED_ATTENTION = "packed-attention"
KEPT_PREFIX = "kept-prefix"
HEAD_IN_PIECES = "head-in-pieces"
TOKEN_TREES = "token-trees"
LANES = "lanes"
RECOMPUTED = "recomputed-blocks"
"""No path of its own, and in no fingerprint: equal bits. Logs name it where memory called for it."""

LOW_RANK_PART = "low-rank-part"
TIGHT_SLICES = "tight-slices"
VARLEN_ATTENTION = "varlen-attention"
COUNTED_DROPOUT = "counted-dropout"
REFILLED_ROWS = "refilled-rows"
PADDED_ROWS = "padded-rows"

FAST_PATHS = (LORA_LINEAR, PACKED_ATTENTION, TIGHT_SLICES, KEPT_PREFIX, HEAD_IN_PIECES, TOKEN_TREES, LANES)
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
    PADDED_ROWS,
)
"""On any other device."""


def numerics_key(
    device: torch.device, dtype: torch.dtype, *, quantization: str = "none", fast: bool = True
) -> dict[str, Any]:
    """What the last digits of a result depend on, apart from the inputs; part of every stage's fingerprint.

    Args:
        device: Where the model is.
        dtype: Of its weights.
        quantization: How they are stored; a library that does so is part of the key.
        fast: Whether the optimised paths are used; without them the key lists none.
    """
    packages = ["torch", "transformers", "peft", *(["bitsandbytes"] if quantization != "none" else [])]
    return {
        "device": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "kernels": kernels(device),
        "paths": list(FAST_PATHS if device.type == "cpu" else GPU_PATHS) if fast else [],
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        **{package: ".".join(version(package).split(".")[:2]) for package in packages},
        **{name: value for name, value in accelerator(device).items() if name != "accelerator_gib"},
    }


def kernels(device: torch.device) -> str:
    """Instructions of the processor; on CUDA what besides the model of the GPU decides how products are summed."""
    if device.type != "cuda":
        return torch.backends.cpu.get_cpu_capability()
    matmul = torch.backends.cuda.matmul
    reduced = matmul.allow_bf16_reduced_precision_reduction
    return f"tf32 {matmul.allow_tf32}, bf16 reduction {reduced}, deterministic, no cudnn attention"
