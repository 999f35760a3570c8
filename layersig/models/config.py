"""Reads the configuration of a checkpoint folder and refuses what is not a causal language model."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from layersig.errors import UserError, one_line


def read_config(path: Path) -> PretrainedConfig:
    """The configuration of the checkpoint in folder `path`.

    Raises:
        UserError: The folder or its config.json is missing or broken, its architecture is unknown, or it is not
            that of a causal language model.
    """
    file = path / "config.json"
    if not file.is_file():
        hint = "; it is a PEFT adapter, name its base model" if (path / "adapter_config.json").is_file() else ""
        raise UserError(f"{file}: no such file, so {path} is not a model in Hugging Face's format{hint}")
    try:
        declared = json.loads(file.read_text(encoding="utf-8")).get("architectures") or []
        config = AutoConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:  # values of a wrong kind bring errors of every kind
        if isinstance(error, ValueError) and "trust_remote_code" in str(error):
            raise UserError(
                f"{file}: its architecture comes as code of its own, which is never run; only architectures of "
                "transformers are supported"
            ) from error
        raise UserError(f"{file}: not a configuration that transformers can read ({one_line(error)})") from error
    if config.is_encoder_decoder:
        raise UserError(f"{file}: {config.model_type} is an encoder-decoder; only causal language models are supported")
    classes = AutoModelForCausalLM._model_mapping
    if type(config) not in classes:
        raise UserError(f"{file}: {config.model_type} has no causal language model in transformers")
    expected = classes[type(config)].__name__
    if declared and expected not in declared:
        raise UserError(f"{file}: the checkpoint is a {', '.join(declared)}, not a causal language model ({expected})")
    return config
