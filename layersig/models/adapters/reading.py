"""Reads an adapter folder in PEFT's format, and checks that it fits the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import AdaLoraConfig, LoraConfig
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file
from torch import Tensor

from layersig.errors import UserError
from layersig.layers import Layer, LayerMap
from layersig.models.adapters.adalora import as_lora
from layersig.models.adapters.config import FILE as CONFIG
from layersig.models.adapters.config import read_config
from layersig.models.fit import check_finite
from layersig.models.tensors import read_header
from layersig.models.updates import Delta

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
MAGNITUDE = "lora_magnitude_vector"


@dataclass(frozen=True, slots=True, eq=False)
class AdapterEntry:
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
class AdapterFolder:
    """What an adapter folder holds.

    Attributes:
        config: Its configuration; that of AdaLoRA as one of LoRA.
        entries: Its layers by name, in model order.
    """

    config: LoraConfig
    entries: Mapping[str, AdapterEntry]


def read_folder(folder: Path, layers: LayerMap) -> AdapterFolder:
    """The content of an adapter folder, all of it checked.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors.
        layers: Map of the model it belongs to, with the head if the adapter may hold it.

    Raises:
        UserError: The folder is no adapter of LoRA or AdaLoRA, its setting changes more than scale * B A, or it does
            not fit the model.
    """
    config = read_config(folder / CONFIG)
    file = folder / WEIGHTS
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
    pairs = _pairs(file, {key: value for key, value in tensors.items() if not (config.use_dora and MAGNITUDE in key)})
    targets = list(config.target_parameters or ())
    names = {path: name for name, path in wrapper_paths(_adapted(pairs, layers, targets), layers).items()}
    entries: dict[str, AdapterEntry] = {}
    for path, (raw_a, raw_b) in pairs.items():
        if path not in names:
            raise UserError(f"{file}: adapts {path}, which is no layer of the model (a head counts only if asked for)")
        layer = layers.by_name[names[path]]
        entries[layer.name] = _entry(file, layer, raw_a, raw_b, config, targets, magnitudes.get(path))
    return AdapterFolder(config, {layer.name: entries[layer.name] for layer in layers if layer.name in entries})


def _magnitudes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DoRA's magnitudes by the path of PEFT's wrapper."""
    found = {key.removeprefix(PREFIX).removesuffix(".weight"): value for key, value in tensors.items()}
    ending = f".{MAGNITUDE}"
    return {key.removesuffix(ending): value for key, value in found.items() if key.endswith(ending)}


def _entry(
    file: Path,
    layer: Layer,
    raw_a: Tensor,
    raw_b: Tensor,
    config: LoraConfig,
    targets: Sequence[str],
    magnitude: Tensor | None,
) -> AdapterEntry:
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
    return AdapterEntry(raw_a, raw_b, Delta(b, a, scale), rank, alpha, parameter, magnitude)


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
        match = re.fullmatch(re.escape(PREFIX) + r"(.+)\.lora_([AB])\.weight", key)
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


def wrapper_paths(names: Sequence[str], layers: LayerMap) -> dict[str, str]:
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
