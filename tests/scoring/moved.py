"""The loss of a model whose weights were changed for real: the independent twin of gates and hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from layersig.layers import LayerMap
from layersig.models.layermap import layer_weight
from layersig.models.updates import Update


def moved(model: PreTrainedModel, layers: LayerMap, update: Update, shares: Mapping[str, float]) -> PreTrainedModel:
    """A copy with `share * Delta` added to the weight of every layer, layers without a share left alone."""
    copy = deepcopy(model)
    for layer in layers:
        if layer.name in shares:
            weight = layer_weight(copy, layer)
            weight += (shares[layer.name] * update.delta(layer.name).dense()).to(weight.dtype)
    return copy


def loss_of(model: PreTrainedModel, rows: Sequence[Sequence[int]], targets_from: int) -> Tensor:
    """Mean cross entropy of all target tokens of rows of one length."""
    tokens = torch.tensor(rows)
    logits = model(tokens).logits[:, targets_from - 1 : -1]
    return cross_entropy(logits.flatten(0, 1), tokens[:, targets_from:].flatten())
