"""Models of published shapes on the meta device: what they hold can be counted and takes no memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from layersig.data.examples import Example, Examples

LLAMA_2_7B = LlamaConfig()  # whose defaults are that model's: 32 blocks, 4096 / 11008, 32 heads, 32000 words
TINY_LLAMA = LlamaConfig(
    hidden_size=64, intermediate_size=172, num_hidden_layers=4, num_attention_heads=4, vocab_size=320
)


def on_meta(config: LlamaConfig, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    """A frozen model of that shape without values."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)


def rows_of(count: int, length: int) -> Examples:
    """Examples of one length, with a target at every token but the first."""
    targets = np.arange(length) > 0
    return Examples.of(
        [Example(f"e{number}", f"g{number}", np.full(length, 7, np.int32), targets) for number in range(count)]
    )


def write_config(config: LlamaConfig, folder: Path) -> Path:
    """The folder, with config.json in it."""
    folder.mkdir(parents=True, exist_ok=True)
    value = {**config.to_dict(), "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(value))
    return folder
