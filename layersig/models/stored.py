"""Reads whatever holds an update: an adapter of PEFT, or the difference that full fine-tuning made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from transformers import PreTrainedModel

from layersig.layers import LayerMap
from layersig.models.adapters import read_adapter
from layersig.models.dense import FILE, read_dense
from layersig.models.layermap import layer_weight
from layersig.models.updates import Update


def is_dense(folder: Path) -> bool:
    """Whether a folder holds a difference of weights."""
    return (folder / FILE).is_file()


def read_update(folder: Path, layers: LayerMap, model: Callable[[], PreTrainedModel] | None = None) -> Update:
    """The update in a folder, float32, in model order.

    Args:
        folder: An adapter of the LoRA family in PEFT's format, or a difference of weights.
        layers: Map of the model it belongs to, with the head if the update may hold it.
        model: Gives that model without adapters; only asked where the update depends on its weights, as that of DoRA.

    Raises:
        UserError: It is neither, is damaged, or does not fit the model.
    """
    if is_dense(folder):
        return read_dense(folder, layers)
    if model is None:
        return read_adapter(folder, layers)
    loaded = cache(model)
    return read_adapter(folder, layers, lambda name: layer_weight(loaded(), layers.by_name[name]).detach())
