"""Merged checkpoints, read back by transformers alone, against PEFT's adapted model."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from layersig.models.checkpoints import write_merged
from layersig.models.layermap import layer_map
from tests.models.helpers import adapter_folder
from tests.tiny import save_tiny, tiny_batch


@pytest.mark.parametrize(
    ("architecture", "dtype", "tied", "head"),
    [
        ("llama", torch.float32, True, False),
        ("llama", torch.bfloat16, False, False),
        ("llama", torch.float32, True, True),
        ("gpt2", torch.float32, True, False),
        ("qwen3_moe", torch.float32, False, False),
    ],
)
def test_a_merged_model_is_the_adapted_one(tmp_path, architecture, dtype, tied, head):
    source = save_tiny(tmp_path / "source", architecture, dtype=dtype, tied=tied)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval().requires_grad_(False)
    layers = layer_map(model, head=head)
    due = adapter_folder(model, list(layers)[1:], tmp_path / "adapter")
    untied = write_merged(source, tmp_path / "adapter", tmp_path / "merged")
    assert untied is (tied and head)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert merged.dtype is torch.float32
    assert (merged.get_output_embeddings().weight is merged.get_input_embeddings().weight) is (tied and not head)
    with torch.no_grad():
        torch.testing.assert_close(merged(tiny_batch()).logits, due, rtol=1e-4, atol=1e-4)
    assert (tmp_path / "merged" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
