"""What the fast paths choose by device: sizes, and which of two ways to compute the same.

Every choice is made here and read through `profile_of`, so that the choices for a GPU can be tested on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from layersig.recipe.schema import AUTO_BATCH_ON_CPU, AUTO_TOKENS_ON_CPU

# Of all devices, and here because a plan counts with them, which must not wait for the import of PEFT.
ATTENTION_SLOWNESS = 3.0
"""How much slower a floating-point operation of attention is than one of a linear layer, on the devices measured."""
LARGEST_PREFIX = 2 * 2**30
"""Bytes of hidden states of a frozen prefix worth keeping."""
LOGIT_ROWS = 1024
"""Positions whose logits are turned into losses at once: keeps the float32 copy of a bf16 block small."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Choices for a kind of device.

    Attributes:
        lanes: Parts of a batch that may run at the same time.
        flat_trees: Whether token trees may lie end to end in one row.
        varlen: Whether packed examples go through torch's variable-length attention, not through our own.
        counted_dropout: Whether dropout masks are computed from counters wherever they are needed, and never kept.
        low_rank_part: Whether the factors of quantized layers and of AdaLoRA run in the type of the input.
        piece_targets: Target tokens that go through a frozen head at a time.
        chunk_elements: Logits whose probabilities are in memory at a time, in float32.
        enough_tokens: A batch of the evaluation with so many tokens is not filled up with much shorter rows.
        refills: Whether a finished answer makes room for the next prompt at once, in a cache allocated in advance.
        padded_rows: Whether answers of a model that takes no masks of ours are written side by side, padded.
        fixed_tokens: What `micro_batch_tokens = "auto"` stands for; None: as many as fit into the free memory.
        fixed_batch: The same of `batch_tokens`.
    """

    lanes: int
    flat_trees: bool
    varlen: bool
    counted_dropout: bool
    low_rank_part: bool
    piece_targets: int
    chunk_elements: int
    enough_tokens: int
    refills: bool
    padded_rows: bool
    fixed_tokens: int | None
    fixed_batch: int | None


CPU = Profile(
    lanes=2,  # measured on two cores only; more would wait for Python's lock
    flat_trees=True,
    varlen=False,
    counted_dropout=False,
    low_rank_part=False,
    # Enough for a matrix product to reach its speed, few enough for the logits to be allocated cheaply.
    piece_targets=256,
    # 6 MB, which stays in the last-level cache.
    chunk_elements=32 * 50_000,
    enough_tokens=1024,
    refills=False,
    padded_rows=False,
    fixed_tokens=AUTO_TOKENS_ON_CPU,
    fixed_batch=AUTO_BATCH_ON_CPU,
)
# Estimates, not measured: a launch costs as much as some megabytes of memory traffic, so pieces are large.
GPU = Profile(
    lanes=1,
    flat_trees=False,
    varlen=True,
    counted_dropout=True,
    low_rank_part=True,
    piece_targets=1024,
    chunk_elements=2**27,
    enough_tokens=16_384,
    refills=True,
    padded_rows=True,
    fixed_tokens=None,
    fixed_batch=None,
)


def profile_of(device: torch.device) -> Profile:
    """The choices for a device."""
    return CPU if device.type == "cpu" else GPU
