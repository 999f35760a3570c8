"""Keys and values that people know from other tools, and what a recipe calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from layersig.recipe.positions import KeyPath

_HERE: Mapping[str, tuple[str, ...]] = {
    "train.learning_rate": ("lr", "peak_lr", "max_lr"),
    "train.rank": ("r", "lora_r", "lora_rank"),
    "train.alpha": ("lora_alpha",),
    "train.dropout": ("lora_dropout",),
    "train.epochs": ("num_train_epochs", "num_epochs", "n_epochs"),
    "train.steps": ("max_steps", "num_steps", "max_train_steps"),
    "train.batch_size": (
        *("per_device_train_batch_size", "micro_batch_size", "train_batch_size", "global_batch_size"),
        "gradient_accumulation_steps",
    ),
    "train.schedule": ("lr_scheduler_type", "lr_scheduler"),
    "train.warmup_ratio": ("warmup_steps", "num_warmup_steps", "warmup"),
    "train.clip": ("max_grad_norm", "gradient_clipping"),
    "train.gradient_checkpointing": ("activation_checkpointing",),
    "train.method": ("finetuning_type", "adapter", "peft_type"),
    "model.source": (
        *("model_name_or_path", "pretrained_model_name_or_path", "base_model", "model_name", "model_id"),
        "model_path",
    ),
    "model.dtype": ("torch_dtype", "bf16", "fp16", "precision"),
    "model.quantization": ("load_in_4bit", "quantization_bit", "quantization_config"),
    "model.attention": ("attn_implementation", "flash_attn", "flash_attention"),
    "model.chat_template": ("template",),
    "data.source": ("dataset", "datasets", "dataset_name", "dataset_path", "data_files", "data_path", "train_file"),
    "data.max_tokens": (
        *("max_seq_length", "max_seq_len", "max_length", "cutoff_len", "sequence_len", "model_max_length"),
        "block_size",
    ),
    "data.heldout": ("val_size", "val_set_size", "test_size", "eval_split", "validation_split"),
    "evaluate.tasks": ("benchmarks", "eval_tasks"),
    "evaluate.batch_tokens": ("per_device_eval_batch_size", "eval_batch_size"),
    "seeds": ("seed",),
    "arms": (
        *("target_modules", "lora_target", "lora_target_modules", "unfrozen_parameters", "freeze_trainable_layers"),
        "layers_to_transform",
    ),
}
KNOWN = {name: key for key, names in _HERE.items() for name in names}
"""Key of a recipe, with its table, by the name that another tool has for it."""
_TOLD = {
    "arms": "layers are chosen by `select` of an [[arms]] entry",
    "train.batch_size": "write `batch_size` in [train], the conversations of an optimizer step; how a step is split to "
    "fit memory changes no result",
    "train.warmup_ratio": "write `warmup_ratio` in [train], the share of the steps",
    "seeds": "write `seeds = [0]` at the top of the recipe",
}
_LISTS = ("data", "arms", "sweeps", "models")
_LEAST_PERCENT = 5
"""From this number on, a share above 1 was meant in percent."""
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%?\s*")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w.-]+)?")


def key_hint(path: KeyPath, fields: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What to write instead of an unknown key: its name here, or the table that it belongs to; None if not known.

    Args:
        path: The unknown key.
        fields: Keys of the tables of a recipe, by table.
    """
    name, table = str(path[-1]), _table(path)
    if name in KNOWN:
        owner, _, key = KNOWN[name].rpartition(".")
        if KNOWN[name] in _TOLD:
            return _TOLD[KNOWN[name]]
        return f"write `{key}`" if owner == table else f"write `{key}` in {_shown(owner)}"
    owners = [owner for owner, keys in fields.items() if name in keys and owner != table]
    return f"`{name}` belongs to {_shown(owners[0])}" if len(owners) == 1 else None


def value_hint(path: KeyPath, kind: str, got: Any, limit: Any = None) -> str | None:
    """How to write a value that is of another form than asked for; None if that is not known.

    Args:
        path: The key.
        kind: Kind of the fault, as pydantic names it.
        got: The value.
        limit: The bound that a number is beyond.
    """
    name = path[-1] if path else ""
    if kind in ("tuple_type", "list_type"):
        if isinstance(got, dict):
            return f"write `[[{name}]]`, once for every entry" if name in _LISTS else None
        if name == "seeds" and type(got) is int and 1 <= got <= 10:
            return f"write {list(range(got))} for {got} training runs, or [{got}] for the seed {got}"
        if isinstance(got, str):
            return f'write ["{got}"]'
        return f"write [{got}]" if type(got) in (int, float) else None
    bounded = kind in ("less_than_equal", "less_than") and limit == 1 and type(got) in (int, float)
    if bounded and _LEAST_PERCENT <= got <= 100:
        return f"for {got:g} % write {got / 100:g}"
    if kind == "float_type" and isinstance(got, str) and (found := _PERCENT.fullmatch(got)):
        number = float(found[1])
        return f"write {number / 100 if '%' in got else number:g}"
    if kind == "string_pattern_mismatch" and isinstance(got, str) and name in ("source", "fallback", "checkpoint"):
        scheme = "path" if path[0] in ("model", "models", "update") or name == "checkpoint" else "file"
        if got.startswith((".", "/", "~")) or got.endswith((".json", ".jsonl", ".parquet")):
            return f'write "{scheme}:{got}"'
        return f'for the Hugging Face hub write "hub:{got}"' if _HUB.fullmatch(got) else None
    return None


def _table(path: KeyPath) -> str:
    """The table of a key: `data` for `data.0.source`, and `train` wherever keys of [train] are changed."""
    names = [str(key) for key in path[:-1] if isinstance(key, str)]
    return "train" if "train" in names else names[0] if names else ""


def _shown(table: str) -> str:
    return f"[[{table}]]" if table in _LISTS else f"[{table}]" if table else "the top of the recipe"
