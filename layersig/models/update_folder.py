"""Reads whatever holds an update: an adapter of PEFT, or the difference that full fine-tuning made."""

from __future__ import annotations

from pathlib import Path

from layersig.layers import LayerMap
from layersig.models.adapters import read_adapter
from layersig.models.dense import FILE, read_dense
from layersig.models.updates import Update


def is_dense(folder: Path) -> bool:
    """Whether a folder holds a difference of weights."""
    return (folder / FILE).is_file()


def read_update(folder: Path, layers: LayerMap) -> Update:
    """The update in a folder, float32, in model order.

    Args:
        folder: An adapter of LoRA or AdaLoRA in PEFT's format, or a difference of weights.
        layers: Map of the model it belongs to, with the head if the update may hold it.

    Raises:
        UserError: It is neither, is damaged, or does not fit the model.
    """
    return read_dense(folder, layers) if is_dense(folder) else read_adapter(folder, layers)
