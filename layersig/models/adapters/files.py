"""Adapter folders in PEFT's format: written atomically and byte for byte reproducibly, read, cut to some layers."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from torch import Tensor

from layersig.errors import UserError
from layersig.layers import Layer, LayerMap
from layersig.models.adapters.adalora import as_lora, exact_ranks
from layersig.models.adapters.config import FILE as CONFIG
from layersig.models.adapters.config import read_config
from layersig.models.adapters.wrappers import ADAPTER
from layersig.models.fit import check_finite
from layersig.models.tensors import read_header
from layersig.models.updates import Delta, LowRankUpdate, rescaled
from layersig.store.files import whole_folder
from layersig.store.jsonfile import read_object

_WEIGHTS = "adapter_model.safetensors"
_CARD = "README.md"
_PREFIX = "base_model.model."
_MAGNITUDE = "lora_magnitude_vector"

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
    """Write what PEFT's `save_pretrained` writes; `folder` is whole or absent, and replaced if it exists.

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
            f"{_PREFIX}{name}.lora_{letter}.{ADAPTER}.weight": factor
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
    adapter = _read(folder, layers)
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
    return tuple(_read(folder, layers).entries)


def graft(source: Path, layers: LayerMap, keep: Sequence[Layer], folder: Path) -> None:
    """Write an adapter that holds only the factors of `keep`; `folder` is whole or absent, and replaced if it exists.

    Args:
        source: Folder of the adapter to cut.
        layers: Map of its model, as for `read_adapter`.
        keep: Layers to keep; every one must be in the adapter.
        folder: Target.

    Raises:
        UserError: As `read_adapter`, or a layer of `keep` is not in the adapter, or `keep` is empty.
    """
    adapter = _read(source, layers)
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
    for name, path in _paths(list(entries), layers).items():
        tensors[f"{_PREFIX}{path}.lora_A.weight"] = entries[name].raw_a
        tensors[f"{_PREFIX}{path}.lora_B.weight"] = entries[name].raw_b
        if (magnitude := entries[name].magnitude) is not None:
            tensors[f"{_PREFIX}{path}.{_MAGNITUDE}"] = magnitude
    with whole_folder(folder) as temporary:
        save_file(tensors, temporary / _WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(str(temporary))
        if (source / _CARD).is_file():
            shutil.copyfile(source / _CARD, temporary / _CARD)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """One layer of an adapter folder.

    Attributes:
        raw_a: A as it is stored.
        raw_b: B as it is stored.
        delta: The change by the factors alone.
        rank: Their rank.
        alpha: Their alpha.
        parameter: The layer's name in `target_parameters`, if it is targeted there.
        magnitude: DoRA's lengths of rows, (out,).
    """

    raw_a: Tensor
    raw_b: Tensor
    delta: Delta
    rank: int
    alpha: float
    parameter: str | None
    magnitude: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class _Adapter:
    config: LoraConfig
    entries: Mapping[str, _Entry]


def _read(folder: Path, layers: LayerMap) -> _Adapter:
    config = read_config(folder / CONFIG)
    file = folder / _WEIGHTS
    if not file.is_file():
        raise UserError(f"{file}: no such file; an adapter must be saved by PEFT as safetensors")
    packed = [tensor for tensor in read_header(file).values() if tensor.dtype is None]
    if packed and not isinstance(config, AdaLoraConfig):
        raise UserError(f"{file}: {packed[0].name} is stored as {packed[0].kind}, which is no plain floating type")
    tensors = load_file(file)
    check_finite(file, tensors.items())
    if isinstance(config, AdaLoraConfig):
        config, tensors = as_lora(file, config, tensors)
    magnitudes = _magnitudes(tensors) if config.use_dora else {}
    pairs = _pairs(file, {key: value for key, value in tensors.items() if not (config.use_dora and _MAGNITUDE in key)})
    targets = list(config.target_parameters or ())
    names = {path: name for name, path in _paths(_adapted(pairs, layers, targets), layers).items()}
    entries: dict[str, _Entry] = {}
    for path, (raw_a, raw_b) in pairs.items():
        if path not in names:
            raise UserError(f"{file}: adapts {path}, which is no layer of the model (a head counts only if asked for)")
        layer = layers.by_name[names[path]]
        entries[layer.name] = _entry(file, layer, raw_a, raw_b, config, targets, magnitudes.get(path))
    return _Adapter(config, {layer.name: entries[layer.name] for layer in layers if layer.name in entries})


def _magnitudes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DoRA's magnitudes by the path of PEFT's wrapper."""
    found = {key.removeprefix(_PREFIX).removesuffix(".weight"): value for key, value in tensors.items()}
    ending = f".{_MAGNITUDE}"
    return {key.removesuffix(ending): value for key, value in found.items() if key.endswith(ending)}


def _entry(
    file: Path,
    layer: Layer,
    raw_a: Tensor,
    raw_b: Tensor,
    config: LoraConfig,
    targets: Sequence[str],
    magnitude: Tensor | None,
) -> _Entry:
    experts = layer.shape[0] if layer.is_parameter else 1
    weight = layer.name if layer.is_parameter else f"{layer.name}.weight"
    parameter = weight if _matches(weight, targets) else None
    rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern, parameter or layer.name), config.r)
    alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern, parameter or layer.name), config.lora_alpha)
    out_features, in_features = layer.shape[-2:]
    expected = (rank * experts, in_features), (out_features, rank * experts)
    if (tuple(raw_a.shape), tuple(raw_b.shape)) != expected:
        raise UserError(
            f"{file}: the factors of {layer.name} have shapes {tuple(raw_a.shape)} and {tuple(raw_b.shape)}, but the "
            f"model and rank {rank} ask for {expected[0]} and {expected[1]}"
        )
    if config.use_dora and (magnitude is None or tuple(magnitude.shape) != (out_features,)):
        got = "none" if magnitude is None else f"of shape {tuple(magnitude.shape)}"
        raise UserError(f"{file}: DoRA needs {out_features} magnitudes for {layer.name}, and there are {got}")
    a, b = raw_a.float(), raw_b.float()
    if layer.is_parameter:
        # PEFT lets the expert run slowest in A and fastest in B.
        a = a.reshape(experts, rank, in_features)
        b = b.reshape(out_features, rank, experts).permute(2, 0, 1).contiguous()
    scale = alpha / (rank**0.5 if config.use_rslora else rank)
    return _Entry(raw_a, raw_b, Delta(b, a, scale), rank, alpha, parameter, magnitude)


def _matches(name: str, targets: Sequence[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _pairs(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B by the path of PEFT's wrapper.

    PEFT saves the untouched weight of an adapted output head along with its factors; that is passed over.
    """
    found: dict[str, dict[str, Tensor]] = {}
    adapted = {key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")}
    for key, tensor in tensors.items():
        if key.endswith(".base_layer.weight") and key.removesuffix(".base_layer.weight") in adapted:
            continue
        match = re.fullmatch(re.escape(_PREFIX) + r"(.+)\.lora_([AB])\.weight", key)
        if match is None:
            raise UserError(f"{file}: {key} is no factor of a linear layer; only lora_A and lora_B are understood")
        found.setdefault(match[1], {})[match[2]] = tensor
    for path, factors in found.items():
        if len(factors) < 2:
            raise UserError(f"{file}: {path} has only one of its two factors")
    return {path: (factors["A"], factors["B"]) for path, factors in found.items()}


def _adapted(paths: Mapping[str, Any], layers: LayerMap, targets: Sequence[str]) -> list[str]:
    """Names of the layers that an adapter with wrappers at `paths` may hold."""
    owners = {_owner(path) for path in paths}
    return [
        layer.name
        for layer in layers
        if layer.name in owners
        or (layer.is_parameter and layer.name.rpartition(".")[0] in owners and _matches(layer.name, targets))
    ]


def _owner(path: str) -> str:
    while path.endswith(".base_layer"):
        path = path.removesuffix(".base_layer")
    return path


def _paths(names: Sequence[str], layers: LayerMap) -> dict[str, str]:
    """Path of PEFT's wrapper of each layer when exactly the layers `names` are adapted.

    Wrappers of the parameters of one module are nested, the one that the module lists first innermost.
    """
    paths: dict[str, str] = {}
    wrapped: dict[str, list[str]] = {}
    for layer in layers:
        if layer.name in names and layer.is_parameter:
            wrapped.setdefault(layer.name.rpartition(".")[0], []).append(layer.name)
        elif layer.name in names:
            paths[layer.name] = layer.name
    for owner, parameters in wrapped.items():
        for depth, name in enumerate(reversed(parameters)):
            paths[name] = owner + ".base_layer" * depth
    return paths


def recorded_base(folder: Path) -> str | None:
    """The base model that an adapter says it was made for, if it says so.

    Raises:
        UserError: The configuration of the adapter cannot be read.
    """
    base = read_object(folder / CONFIG).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None
