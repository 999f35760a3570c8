"""Copies a tokenizer from one checkpoint to another as it is: loading and saving it again would rewrite its files."""

from __future__ import annotations

import shutil
from pathlib import Path

_PATTERNS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template*",
    "additional_chat_templates",
)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the files of a tokenizer from one checkpoint folder to another, byte for byte."""
    for pattern in _PATTERNS:
        for path in source.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, folder / path.name)
