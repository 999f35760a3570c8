"""Adapter folders in PEFT's format: saved, read as an update, and cut to some layers.

They are written atomically, and byte for byte reproducibly.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor

from layersig.errors import UserError
from layersig.layers import Layer, LayerMap
from layersig.models.adapters.adalora import exact_ranks
from layersig.models.adapters.config import FILE as CONFIG
from layersig.models.adapters.reading import MAGNITUDE, PREFIX, WEIGHTS, read_folder, wrapper_paths
from layersig.models.adapters.wrappers import ADAPTER
from layersig.models.updates import Delta, LowRankUpdate, rescaled
from layersig.store.files import whole_folder
from layersig.store.jsonfile import read_object

_CARD = "README.md"

Weights = Callable[[str], Tensor]
"""Gives the base weight of a layer by its name, as the layer map orients it."""


def save_adapter(
    peft_model: PeftModel,
    folder: Path,
    *,
    base_model: str,
    revision: str | None,
    factors: Mapping[str, tuple[Tensor, Tensor]] | None = None,
) -> None:
    """Write what PEFT's `save_pretrained` writes, all of it or nothing; an existing `folder` is replaced.

    Saving the same adapter twice gives the same bytes. The embedding is never saved along, also when a tied head is
    adapted.

    Args:
        peft_model: From `inject_lora`.
        folder: Target.
        base_model: Name of the base model for the configuration and the card.
        revision: Its revision, if it has one.
        factors: A and B of every layer by name, all of one rank, to write in place of the model's own; the scale stays
            that of the model.
    """
    own = config = peft_model.peft_config[ADAPTER]
    state: dict[str, Tensor] | None = None
    if factors is not None:
        rank = len(next(iter(factors.values()))[0])
        config = dataclasses.replace(own, r=rank, lora_alpha=own.lora_alpha * rank / own.r)
        state = {
            f"{PREFIX}{name}.lora_{letter}.{ADAPTER}.weight": factor
            for name, pair in factors.items()
            for letter, factor in zip("AB", pair, strict=True)
        }
    config.base_model_name_or_path, config.revision = base_model, revision
    model = peft_model.get_base_model()
    names = model.name_or_path, model.config.name_or_path
    model.name_or_path = model.config.name_or_path = base_model
    peft_model.peft_config[ADAPTER] = config
    try:
        with whole_folder(folder) as temporary, exact_ranks(peft_model):
            peft_model.save_pretrained(str(temporary), save_embedding_layers=False, state_dict=state)
    finally:
        peft_model.peft_config[ADAPTER] = own
        model.name_or_path, model.config.name_or_path = names


def read_adapter(folder: Path, layers: LayerMap, weights: Weights | None = None) -> LowRankUpdate:
    """The update of an adapter of the LoRA family in PEFT's format, also of one made elsewhere.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors.
        layers: Map of the model it belongs to, with the head if the adapter may hold it.
        weights: Its base weights. What DoRA changes depends on them; other adapters are read without.

    Returns:
        Float32 factors of the layers that the adapter holds, in model order; for DoRA the dense change.

    Raises:
        UserError: The folder is no adapter of LoRA, DoRA or AdaLoRA, its setting changes more than scale * B A, it does
            not fit the model, or base weights are missing or quantised; the message names the file and what is wrong.
    """
    adapter = read_folder(folder, layers)
    deltas: dict[str, Delta] = {}
    for name, entry in adapter.entries.items():
        deltas[name] = entry.delta
        if entry.magnitude is not None:
            if weights is None:
                raise UserError(
                    f"{folder}: a DoRA adapter rescales the weights of its model; they are needed to read it"
                )
            deltas[name] = rescaled(entry.delta, entry.magnitude, weights(name)).to(torch.device("cpu"), torch.float32)
    return LowRankUpdate(deltas)


def adapted_layers(folder: Path, layers: LayerMap) -> tuple[str, ...]:
    """Names of the layers that an adapter holds, in model order, once all of it has been checked.

    Raises:
        UserError: As `read_adapter`.
    """
    return tuple(read_folder(folder, layers).entries)


def graft(source: Path, layers: LayerMap, keep: Sequence[Layer], folder: Path) -> None:
    """Write an adapter that holds only the factors of `keep`, all of it or nothing; an existing `folder` is replaced.

    Args:
        source: Folder of the adapter to cut.
        layers: Map of its model, as for `read_adapter`.
        keep: Layers to keep; every one must be in the adapter.
        folder: Target.

    Raises:
        UserError: As `read_adapter`, or a layer of `keep` is not in the adapter, or `keep` is empty.
    """
    adapter = read_folder(source, layers)
    kept = {layer.name for layer in keep}
    if not kept or not kept <= adapter.entries.keys():
        missing = ", ".join(sorted(kept - adapter.entries.keys()))
        raise UserError(f"{source}: cannot keep {missing or 'no layer at all'}; the adapter does not hold that")
    entries = {name: entry for name, entry in adapter.entries.items() if name in kept}
    config = dataclasses.replace(
        adapter.config,
        rank_pattern={
            re.escape(entry.parameter or name): entry.rank
            for name, entry in entries.items()
            if entry.rank != adapter.config.r
        },
        alpha_pattern={
            re.escape(entry.parameter or name): entry.alpha
            for name, entry in entries.items()
            if entry.alpha != adapter.config.lora_alpha
        },
        exclude_modules=None,
        layers_to_transform=None,
        layers_pattern=None,
    )
    config.target_modules = sorted(name for name, entry in entries.items() if entry.parameter is None)
    config.target_parameters = sorted(entry.parameter for entry in entries.values() if entry.parameter) or None
    tensors: dict[str, Tensor] = {}
    for name, path in wrapper_paths(list(entries), layers).items():
        tensors[f"{PREFIX}{path}.lora_A.weight"] = entries[name].raw_a
        tensors[f"{PREFIX}{path}.lora_B.weight"] = entries[name].raw_b
        if (magnitude := entries[name].magnitude) is not None:
            tensors[f"{PREFIX}{path}.{MAGNITUDE}"] = magnitude
    with whole_folder(folder) as temporary:
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(str(temporary))
        if (source / _CARD).is_file():
            shutil.copyfile(source / _CARD, temporary / _CARD)


def recorded_base(folder: Path) -> str | None:
    """The base model that an adapter says it was made for, if it says so.

    Raises:
        UserError: The configuration of the adapter cannot be read.
    """
    base = read_object(folder / CONFIG).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None
