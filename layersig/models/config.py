"""Reads the configuration of a checkpoint folder and refuses what is not a causal language model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PretrainedConfig

from layersig.errors import UserError, one_line
from layersig.store.jsonfile import read_object

PATCHED, PATCHED_FROM = "layersig_patched", "patched_model_type"
"""Model type of a checkpoint with linear maps (`models.patches`), and the key that holds that of its architecture."""
_QUANTISATION = ("quantization_config", "compression_config")


def read_config(path: Path) -> PretrainedConfig:
    """The configuration of the checkpoint in folder `path`.

    Raises:
        UserError: The folder or its config.json is missing or broken, its architecture is unknown, its weights are
            quantised, or it is not that of a causal language model.
    """
    file = path / "config.json"
    if not file.is_file():
        hint = "; it is a PEFT adapter, name its base model" if (path / "adapter_config.json").is_file() else ""
        raise UserError(f"{file}: no such file, so {path} is not a model in Hugging Face's format{hint}")
    value = read_object(file)
    declared = value.get("architectures") or []
    try:
        config = _configuration(path, value)
    except Exception as error:  # values of a wrong kind bring errors of every kind
        if isinstance(error, ValueError) and "trust_remote_code" in str(error):
            raise UserError(
                f"{file}: its architecture comes as code of its own, which is never run; only architectures of "
                "transformers are supported"
            ) from error
        raise UserError(f"{file}: not a configuration that transformers can read ({one_line(error)})") from error
    for quantisation in _quantisations(value):
        method = quantisation.get("quant_method", "a method that is not named")
        raise UserError(
            f"{file}: the weights are stored quantised ({method}), and layers are read from plain weights; bring the "
            'checkpoint in full precision (model.quantization = "nf4" quantises it when it is loaded)'
        )
    if not isinstance(declared, list) or not all(isinstance(name, str) for name in declared):
        raise UserError(f"{file}: `architectures` is not a list of names; fetch or save it again")
    if config.is_encoder_decoder:
        raise UserError(f"{file}: {config.model_type} is an encoder-decoder; only causal language models are supported")
    classes = AutoModelForCausalLM._model_mapping
    if type(config) not in classes:
        raise UserError(f"{file}: {config.model_type} has no causal language model in transformers")
    expected = classes[type(config)].__name__
    if declared and expected not in declared:
        raise UserError(f"{file}: the checkpoint is a {', '.join(declared)}, not a causal language model ({expected})")
    return config


def attention_widths(config: PretrainedConfig) -> tuple[int, int]:
    """Numbers that the queries of a token consist of in all blocks, and its keys and values.

    Blocks may have heads of a number and a size of their own (Gemma 4). Without heads there are no queries, and keys
    and values count as one head, which is more than such models hold.
    """
    own = config.get_text_config(decoder=True)
    queries = cached = 0
    for block in own.per_layer_config if own.is_heterogeneous else [own] * own.num_hidden_layers:
        heads = getattr(block, "num_attention_heads", None) or 0
        groups = getattr(block, "num_key_value_heads", None) or heads or 1
        size = getattr(block, "head_dim", None) or block.hidden_size // (heads or 1)
        queries += heads * size
        cached += 2 * groups * size
    return queries, cached


def _configuration(path: Path, value: dict[str, Any]) -> PretrainedConfig:
    if value.get("model_type") != PATCHED:
        return AutoConfig.from_pretrained(path, local_files_only=True)
    own = value[PATCHED_FROM]
    rest = {key: each for key, each in value.items() if key != PATCHED_FROM}
    return CONFIG_MAPPING[own].from_dict({**rest, "model_type": own})


def _quantisations(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a configuration says of quantised weights, in any of its parts."""
    for key, part in value.items():
        if isinstance(part, dict) and part:
            yield from [part] if key in _QUANTISATION else _quantisations(part)
