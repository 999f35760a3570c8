"""Weights of single layers straight from the files of a checkpoint, so that a model need not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layersig.errors import UserError
from layersig.layers import Layer
from layersig.models.layermap import layer_parameter, layer_weight, model_of_configuration, weight_name
from layersig.models.load import load_model
from layersig.models.tensors import StoredTensor, stored_tensors, widest_dtype


class StoredWeights:
    """The weights of a checkpoint, read one at a time.

    Args:
        folder: Folder of the model.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stored = stored_tensors(folder)
        self._shapes = model_of_configuration(folder)

    def read(self, layer: Layer) -> Tensor:
        """The weight of a layer, (out, in) or (experts, out, in), in the type of the file and on the CPU.

        Some files hold a layer in another form than the model, such as every expert on its own; they are loaded as a
        model once, on the CPU.

        Raises:
            UserError: The weight is quantised, or the files do not fit the configuration.
        """
        stored = self._tensor(layer)
        if stored is None:
            return layer_weight(self._loaded, layer).detach()
        if stored.dtype is None:
            raise UserError(f"{layer.name} is quantised ({stored.kind}); take the model before it was quantised")
        value = stored.read()
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"{stored.file}: {stored.name} holds values that are not finite; fetch or save it again")
        turned = layer_weight(self._shapes, layer) is not layer_parameter(self._shapes, layer)
        return value.mT if turned else value

    def _tensor(self, layer: Layer) -> StoredTensor | None:
        """The weight in the model, as a tensor."""
        shape = tuple(layer_parameter(self._shapes, layer).shape)
        found = (self._stored.get(name) for name in _names(weight_name(layer), self._shapes.base_model_prefix))
        return next((tensor for tensor in found if tensor is not None and tensor.shape == shape), None)

    @cached_property
    def _loaded(self) -> PreTrainedModel:
        return load_model(self._folder, dtype=widest_dtype(self._stored.values()), device="cpu")


def _names(name: str, prefix: str) -> Sequence[str]:
    """Names that a file may give a parameter: transformers also writes those of the body without its prefix."""
    return (name, name.removeprefix(f"{prefix}."))
