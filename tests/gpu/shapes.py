"""Random models of published shapes, made on the device, and conversations of random words: no hub is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from layersig.data.examples import Example
from tests.shapes import LLAMA_2_7B, PUBLISHED, TINY_LLAMA

RANK = 32
SHAPES = {
    "1B": LlamaConfig(
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        vocab_size=128_256,
        max_position_embeddings=131_072,
        tie_word_embeddings=True,
    ),
    "7B": LLAMA_2_7B,
    "8B": PUBLISHED["meta-llama/Llama-3.1-8B"],
}
"""Those of Llama-3.2-1B, Llama-2-7B and Llama-3.1-8B."""


@dataclass(frozen=True)
class Setting:
    """Where a case runs.

    Attributes:
        device: The device.
        tiny: Whether every model and every batch is tiny instead.
    """

    device: torch.device
    tiny: bool = False

    def model(self, shape: str, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
        """A frozen random model in eval mode, the same at every call."""
        config = TINY_LLAMA if self.tiny else SHAPES[shape]
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.device(self.device):
            torch.manual_seed(0)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
        return model.eval().requires_grad_(False)

    def conversations(self, count: int) -> list[Example]:
        """Random words whose numbers are spread like those of No Robots: log-normal, 330 +- 280, at most 2,048."""
        mean, spread, longest = (24, 20, 60) if self.tiny else (330, 280, 2048)
        rng = np.random.default_rng(0)
        variance = math.log(1 + (spread / mean) ** 2)
        lengths = rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), count)
        found = []
        for number, length in enumerate(np.clip(lengths.astype(int), 8, longest)):
            tokens = rng.integers(10, 300, length).astype(np.int32)
            found.append(Example(f"e{number}", f"g{number}", tokens, np.arange(length) >= length // 3))
        return found

    def few(self, number: int, tiny: int) -> int:
        """A number, or the one that a tiny case does with."""
        return tiny if self.tiny else number


def adapted(model: PreTrainedModel, *, dropout: float = 0.0, layers: list[str] | None = None) -> PeftModel:
    """What a user of PEFT writes: factors in float32 on all linear layers of the blocks, or on some; moved a little."""
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        lora_dropout=dropout,
        target_modules=layers or "all-linear",
        task_type="CAUSAL_LM",
    )
    found = get_peft_model(model, config)
    for number, (name, parameter) in enumerate(found.named_parameters()):
        if "lora_" in name:
            generator = torch.Generator(parameter.device).manual_seed(number)
            parameter.data.normal_(std=0.01, generator=generator)
    return found
