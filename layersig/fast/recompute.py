"""Gradient checkpointing: what a block computes inside is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from layersig.errors import UserError


@contextmanager
def checkpointed_blocks(model: nn.Module) -> Iterator[None]:
    """Within this context only the inputs of blocks are kept for the backward pass; the rest is computed again.

    Blocks are wrapped here rather than by `gradient_checkpointing_enable`, which works in train mode alone, where a
    model's own dropouts would be on. Frozen blocks below the lowest trained layer are not run again.

    Raises:
        UserError: The model does not say what its blocks are.
    """
    blocks = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not blocks:
        raise UserError(
            f"train.gradient_checkpointing: {type(model).__name__} does not say what its blocks are; set it to false"
        )
    try:
        for block in blocks:
            # Dropout is keyed, so no random state has to be kept and put back.
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        yield
    finally:
        for block in blocks:
            del block.forward
