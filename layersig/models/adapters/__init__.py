"""LoRA adapters. PEFT is the one way in which they are injected, saved and loaded."""

from layersig.models.adapters.files import graft, read_update, save_adapter
from layersig.models.adapters.live import (
    adapter_layers,
    assert_moved,
    attach_adapter,
    dropouts,
    inject_lora,
    remove_adapter,
)

__all__ = [
    "adapter_layers",
    "assert_moved",
    "attach_adapter",
    "dropouts",
    "graft",
    "inject_lora",
    "read_update",
    "remove_adapter",
    "save_adapter",
]
