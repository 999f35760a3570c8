"""The configuration of an adapter folder, read strictly: what it may say, so that the change of a layer is known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import AdaLoraConfig, LoraConfig

from layersig.errors import UserError, one_line
from layersig.models.adapters.adalora import ADALORA
from layersig.store.jsonfile import read_object

FILE = "adapter_config.json"

# Settings of LoRA that leave the change of a layer at scale * B A with the scale of plain or rank-stabilised LoRA; DoRA
# rescales the rows of the weight that results.
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
        "use_dora",
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


def read_config(file: Path) -> LoraConfig:
    """The configuration, if it describes nothing but scale * B A on linear layers and fused experts, or DoRA.

    Raises:
        UserError: It cannot be read, or describes something else; the message names the file and the setting.
    """
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
