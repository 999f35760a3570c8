"""Adapter folders in PEFT's format: written atomically and byte for byte reproducibly, read, cut to some layers."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import AdaLoraConfig, LoraConfig, PeftModel
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from torch import Tensor

from layersig.errors import UserError, one_line
from layersig.layers import Layer, LayerMap
from layersig.models.adapters.adalora import ADALORA, as_lora, exact_ranks
from layersig.models.adapters.wrappers import ADAPTER
from layersig.models.fit import check_finite
from layersig.models.tensors import read_header
from layersig.models.updates import Delta, LowRankUpdate
from layersig.store.files import whole_folder
from layersig.store.jsonfile import read_object

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_CARD = "README.md"
_PREFIX = "base_model.model."

# Settings of LoRA that leave the change of a layer at scale * B A with the scale of plain or rank-stabilised LoRA.
_UNDERSTOOD = frozenset(
    {
        "peft_type",
        "task_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "r",
        "lora_alpha",
        "lora_dropout",
        "target_modules",
        "exclude_modules",
        "target_parameters",
        "layers_to_transform",
        "layers_pattern",
        "fan_in_fan_out",
        "use_rslora",
        "rank_pattern",
        "alpha_pattern",
        "megatron_core",
        "runtime_config",
        "ensure_weight_tying",
        "qalora_group_size",
    }
)
# Starting points that leave the base weights alone; others (PiSSA, OLoRA, ...) make the update relative to new ones.
_STARTS = (True, False, "gaussian", "eva")


def save_adapter(peft_model: PeftModel, folder: Path, *, base_model: str, revision: str | None) -> None:
    """Write what PEFT's `save_pretrained` writes; `folder` is whole or absent, and replaced if it exists.

    Saving the same adapter twice gives the same bytes. The embedding is never saved along, also when a tied head is
    adapted.

    Args:
        peft_model: From `inject_lora`.
        folder: Target.
        base_model: Name of the base model for the configuration and the card.
        revision: Its revision, if it has one.
    """
    config = peft_model.peft_config[ADAPTER]
    config.base_model_name_or_path, config.revision = base_model, revision
    model = peft_model.get_base_model()
    names = model.name_or_path, model.config.name_or_path
    model.name_or_path = model.config.name_or_path = base_model
    try:
        with whole_folder(folder) as temporary, exact_ranks(peft_model):
            peft_model.save_pretrained(str(temporary), save_embedding_layers=False)
    finally:
        model.name_or_path, model.config.name_or_path = names


def read_adapter(folder: Path, layers: LayerMap) -> LowRankUpdate:
    """The factors of a LoRA or AdaLoRA adapter in PEFT's format, also of one made elsewhere.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors.
        layers: Map of the model it belongs to, with the head if the adapter may hold it.

    Returns:
        Float32 factors of the layers that the adapter holds, in model order.

    Raises:
        UserError: The folder is no LoRA or AdaLoRA adapter, its setting changes more than scale * B A, or it does not
            fit the model; the message names the file and the setting or layer.
    """
    adapter = _read(folder, layers)
    return LowRankUpdate({name: entry.delta for name, entry in adapter.entries.items()})


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
    with whole_folder(folder) as temporary:
        save_file(tensors, temporary / _WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(str(temporary))
        if (source / _CARD).is_file():
            shutil.copyfile(source / _CARD, temporary / _CARD)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """One layer of an adapter folder; `parameter` is its name in `target_parameters`, if it is targeted there."""

    raw_a: Tensor
    raw_b: Tensor
    delta: Delta
    rank: int
    alpha: float
    parameter: str | None


@dataclass(frozen=True, slots=True, eq=False)
class _Adapter:
    config: LoraConfig
    entries: Mapping[str, _Entry]


def _read(folder: Path, layers: LayerMap) -> _Adapter:
    config = _read_config(folder / _CONFIG)
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
    pairs = _pairs(file, tensors)
    targets = list(config.target_parameters or ())
    names = {path: name for name, path in _paths(_adapted(pairs, layers, targets), layers).items()}
    entries: dict[str, _Entry] = {}
    for path, (raw_a, raw_b) in pairs.items():
        if path not in names:
            raise UserError(f"{file}: adapts {path}, which is no layer of the model (a head counts only if asked for)")
        layer = layers.by_name[names[path]]
        entries[layer.name] = _entry(file, layer, raw_a, raw_b, config, targets)
    return _Adapter(config, {layer.name: entries[layer.name] for layer in layers if layer.name in entries})


def _entry(
    file: Path, layer: Layer, raw_a: Tensor, raw_b: Tensor, config: LoraConfig, targets: Sequence[str]
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
    a, b = raw_a.float(), raw_b.float()
    if layer.is_parameter:
        # PEFT lets the expert run slowest in A and fastest in B.
        a = a.reshape(experts, rank, in_features)
        b = b.reshape(out_features, rank, experts).permute(2, 0, 1).contiguous()
    scale = alpha / (rank**0.5 if config.use_rslora else rank)
    return _Entry(raw_a, raw_b, Delta(b, a, scale), rank, alpha, parameter)


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


def _read_config(file: Path) -> LoraConfig:
    """The configuration, if it describes nothing but scale * B A on linear layers and fused experts."""
    if not file.is_file():
        raise UserError(f"{file}: no such file, so {file.parent} is not a PEFT adapter")
    value = read_object(file)
    if "peft_type" not in value:
        raise UserError(f"{file}: not a configuration of PEFT (it has no peft_type)")
    kind = value["peft_type"]
    if kind not in ("LORA", "ADALORA"):
        raise UserError(f"{file}: peft_type is {kind}; only LORA and ADALORA adapters are understood")
    _check_values(file, value)
    defaults = LoraConfig().to_dict()
    for key in sorted(value.keys() - _UNDERSTOOD - {"init_lora_weights"} - (ADALORA if kind == "ADALORA" else set())):
        if value[key] and value[key] != defaults.get(key):
            raise UserError(f"{file}: {key} = {value[key]!r} is not supported; only plain LoRA is (scale * B A)")
    if value.get("init_lora_weights", True) not in _STARTS:
        raise UserError(
            f"{file}: init_lora_weights = {value['init_lora_weights']!r} changes the base weights, so the factors are "
            "no update of the base model; convert the adapter with PEFT's path_initial_model_for_weight_conversion"
        )
    try:
        config = (LoraConfig if kind == "LORA" else AdaLoraConfig).from_pretrained(str(file.parent))
    except Exception as error:  # values of a wrong kind bring errors of every kind
        raise UserError(f"{file}: PEFT cannot read it ({one_line(error)})") from error
    assert isinstance(config, LoraConfig)
    if kind == "LORA":
        config.rank_pattern, config.alpha_pattern = config.rank_pattern or {}, config.alpha_pattern or {}
    return config


def recorded_base(folder: Path) -> str | None:
    """The base model that an adapter says it was made for, if it says so.

    Raises:
        UserError: The configuration of the adapter cannot be read.
    """
    base = read_object(folder / _CONFIG).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def _check_values(file: Path, value: Mapping[str, Any]) -> None:
    """Refuse ranks and scales that are none, before anything is computed from them."""

    def is_rank(found: Any) -> bool:
        return isinstance(found, int) and not isinstance(found, bool) and found > 0

    def is_scale(found: Any) -> bool:
        return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)

    def check(key: str, found: Any, fits: bool, due: str) -> None:
        if not fits:
            raise UserError(f"{file}: {key} = {found!r} is not {due}; save the adapter again")

    for key, fits, due in (("r", is_rank, "a rank"), ("lora_alpha", is_scale, "a number")):
        check(key, value.get(key), value.get(key) is None or fits(value[key]), due)
    for key, fits, due in (("rank_pattern", is_rank, "ranks"), ("alpha_pattern", is_scale, "numbers")):
        found = value.get(key) or {}
        # AdaLoRA keeps a mask of each layer's ranks there.
        known = isinstance(found, dict) and (value["peft_type"] == "ADALORA" or all(map(fits, found.values())))
        check(key, found, known and all(map(_compiles, found)), f"a table of {due} by name")
    for key in ("target_modules", "target_parameters"):
        names = value.get(key) or []
        plain = isinstance(names, str) or (isinstance(names, list) and all(isinstance(name, str) for name in names))
        check(key, names, plain, "a list of names")


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
