"""Models of published shapes on the meta device: what they hold can be counted and takes no memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from layersig.data.examples import Example, Examples

LLAMA_2_7B = LlamaConfig()  # whose defaults are that model's: 32 blocks, 4096 / 11008, 32 heads, 32000 words
TINY_LLAMA = LlamaConfig(
    hidden_size=64, intermediate_size=172, num_hidden_layers=4, num_attention_heads=4, vocab_size=320
)
_LLAMA_3 = {
    "vocab_size": 128_256,
    "intermediate_size": 14_336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
}
PUBLISHED = {
    "meta-llama/Llama-2-7b-hf": LLAMA_2_7B,
    "meta-llama/Llama-2-13b-hf": LlamaConfig(
        hidden_size=5120,
        intermediate_size=13_824,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=40,
    ),
    "meta-llama/Llama-3.1-8B": LlamaConfig(**_LLAMA_3),
    "meta-llama/Llama-3.1-8B-Instruct": LlamaConfig(**_LLAMA_3),
    "mistralai/Mistral-7B-v0.1": MistralConfig(),  # whose defaults are that model's
    "Qwen/Qwen2.5-7B-Instruct": Qwen2Config(
        hidden_size=3584,
        intermediate_size=18_944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152_064,
    ),
}
"""Shapes of the models of shipped recipes, from their model cards, by their names on the hub."""


def on_meta(config: PreTrainedConfig, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
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


def write_config(config: PreTrainedConfig, folder: Path) -> Path:
    """The folder, with config.json in it."""
    folder.mkdir(parents=True, exist_ok=True)
    value = {**config.to_dict(), "architectures": [AutoModelForCausalLM._model_mapping[type(config)].__name__]}
    (folder / "config.json").write_text(json.dumps(value))
    return folder
