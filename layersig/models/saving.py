"""Saves a model together with its tokenizer and its generation settings, both unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from layersig.models.patches import copy_patches

GENERATION = "generation_config.json"
_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template*",
    "additional_chat_templates",
    "*processor_config.json",
    "tekken.json",
)


def save_model(model: PreTrainedModel, source: Path, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write a checkpoint by `save_pretrained`.

    Args:
        model: The model.
        source: Folder of the checkpoint that it comes from.
        folder: Target; made when missing.
        state: Weights to write instead of the model's own.
    """
    own = model.generation_config
    # transformers refuses to save settings that it reads without complaint, such as a temperature without sampling.
    model.generation_config = GenerationConfig()
    try:
        model.save_pretrained(folder, state_dict=state)
    finally:
        model.generation_config = own
    copy_belongings(model, source, folder)


def copy_belongings(model: PreTrainedModel, source: Path, folder: Path) -> None:
    """Put the tokenizer, the settings of generation and the linear maps of `source` into `folder`.

    Where `source` has no such settings, those that the model's configuration implies are written.
    """
    if (source / GENERATION).is_file():
        shutil.copyfile(source / GENERATION, folder / GENERATION)
    elif model.can_generate():
        model.generation_config.save_pretrained(folder)
    copy_tokenizer(source, folder)
    copy_patches(source, folder)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the files of a tokenizer from one checkpoint folder to another, byte for byte.

    Loading and saving it again would rewrite its files.
    """
    for pattern in _TOKENIZER_FILES:
        for path in source.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, folder / path.name)
