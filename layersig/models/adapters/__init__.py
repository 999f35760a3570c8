"""Adapters of the LoRA family. PEFT is the one way in which they are injected, saved and loaded."""

from layersig.models.adapters.adalora import allocation_state, orthogonality, restore_allocation
from layersig.models.adapters.files import adapted_layers, graft, read_adapter, save_adapter
from layersig.models.adapters.inject import inject_adalora, inject_lora
from layersig.models.adapters.live import (
    adapter_layers,
    assert_moved,
    attach_adapter,
    dropouts,
    live_delta,
    remove_adapter,
)
from layersig.models.adapters.ranks import allocate

__all__ = [
    "adapted_layers",
    "adapter_layers",
    "allocate",
    "allocation_state",
    "assert_moved",
    "attach_adapter",
    "dropouts",
    "graft",
    "inject_adalora",
    "inject_lora",
    "live_delta",
    "orthogonality",
    "read_adapter",
    "remove_adapter",
    "restore_allocation",
    "save_adapter",
]
