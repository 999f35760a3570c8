"""Models that are split among the processes of a stage (`layersig.distributed.sharding`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from layersig.distributed.sharding import split_blocks
from layersig.errors import UserError
from layersig.layers import Layer
from layersig.models.layermap import block_list, layer_parameter, weight_name


def split(model: PreTrainedModel, device: torch.device, weights: Sequence[Layer] = ()) -> PreTrainedModel:
    """Split a model, in place.

    Args:
        model: As loaded, on the CPU.
        device: The device of this process.
        weights: Layers whose weights will be trained. They become float32 or wider and require a gradient, and the
            model casts them where it computes.

    Raises:
        UserError: A layer to be trained lies outside of the blocks.
    """
    blocks = list(block_list(model)[1])
    inside = {id(parameter) for block in blocks for parameter in block.parameters()}
    dtype = model.dtype
    for layer in weights:
        own = layer_parameter(model, layer)
        if id(own) not in inside:
            raise UserError(
                f"{layer.name} lies outside of the blocks, which alone --shard splits; set layers.head = false"
            )
        owner, _, attribute = weight_name(layer).rpartition(".")
        start = own.detach().to(torch.promote_types(own.dtype, torch.float32))
        setattr(model.get_submodule(owner), attribute, nn.Parameter(start))
    split_blocks(model, blocks, device, dtype)
    return model
