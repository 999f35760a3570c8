"""Writes checkpoints that need nothing but transformers: an adapter merged into its model, with the tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from layersig.models.devices import wide
from layersig.models.layermap import has_tied_head, layer_map, layer_weight
from layersig.models.load import check_model, dequantised, load_model
from layersig.models.saving import save_model
from layersig.models.tensors import stored_tensors, widest_dtype
from layersig.models.update_folder import read_update


class Merged(NamedTuple):
    """What became of a merge.

    Attributes:
        untied: Whether a tied head had to be untied, because the adapter changes the head and not the embedding.
        cast_error: Norm of what the cast changed in the tuned layers, as a share of the norm of their update; 0 without
            a cast.
    """

    untied: bool
    cast_error: float


def write_merged(
    source: Path, adapter: Path, folder: Path, *, nf4: torch.dtype | None = None, dtype: torch.dtype | None = None
) -> Merged:
    """Write a model with its adapter merged into the weights.

    It is merged in float32, or in float64 if the file holds any. Below float32 much of a small update rounds away, so
    the result is cast only on demand.

    Args:
        source: Folder of the model that the adapter belongs to.
        adapter: Folder of an adapter in PEFT's format.
        folder: Target; made when missing.
        nf4: Where the adapter belongs to the model in NF4: the type that this computes in. The weights that the adapter
            is merged into are then those that are computed with, dequantised, not those of the files.
        dtype: Type to cast the result to, but for what transformers keeps in float32; None keeps the type of the merge.

    Raises:
        UserError: As `read_update` and `load_model`.
    """
    computed = torch.promote_types(widest_dtype(stored_tensors(source).values()), torch.float32)
    model = load_model(source, dtype=computed, device="cpu")
    layers = layer_map(model, head=model.get_output_embeddings() is not None)
    if nf4 is not None:
        _dequantise(model, source, nf4)
    update = read_update(adapter, layers, lambda: model)
    untied = has_tied_head(model) and any(layers.by_name[name].block is None for name in update.layers)
    if untied:
        _untie(model)
    moved = lost = 0.0
    with torch.no_grad():
        for name in update.layers:
            weight = layer_weight(model, layers.by_name[name])
            change = update.delta(name).to(weight.device, weight.dtype).dense()
            weight.add_(change)
            if dtype is not None:
                moved += float(wide(change).square().sum())
                lost += float((wide(weight.to(dtype)) - wide(weight)).square().sum())
    if dtype is not None:
        _cast(model, source, dtype)
    save_model(model, source, folder)
    return Merged(untied, (lost / moved) ** 0.5 if moved else 0.0)


def _cast(model: PreTrainedModel, source: Path, dtype: torch.dtype) -> None:
    """Cast every tensor as transformers does when it loads the model in a type: some must stay in float32."""
    due = check_model(source, dtype).model.state_dict()
    for name, value in model.state_dict(keep_vars=True).items():
        value.data = value.data.to(due[name].dtype)


def _dequantise(model: PreTrainedModel, source: Path, dtype: torch.dtype) -> None:
    """Give a model the values that the same model computes with in NF4."""
    twin = load_model(source, dtype=dtype, device="auto", quantization="nf4")
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, stored in twin.named_parameters():
            value = dequantised(stored)
            # What these store as (in, out) is packed as (out, in).
            turned = value is not stored and isinstance(model.get_submodule(name.rpartition(".")[0]), Conv1D)
            own[name].copy_(value.mT if turned else value)


def _untie(model: PreTrainedModel) -> None:
    head = model.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    for config in (model.config, model.config.get_text_config(decoder=True)):
        config.tie_word_embeddings = False
