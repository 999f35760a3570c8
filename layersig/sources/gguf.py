"""From one GGUF file to a plain Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from layersig.errors import MachineError

CONVERSION_VERSION = 1
"""Part of the cache key: bump it when the folder that `convert` writes changes."""


def convert(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file as `model.safetensors`, config and tokenizer with its chat template.

    Weights are written in float32, because that is what the block formats dequantise to: a Q4_1 weight is `d * q + m`
    with half-precision d and m and an integer q of 4 bits, computed in float32. bfloat16 would halve the file and
    change four weights in five of SmolLM2-135M-Instruct (by up to 0.014), float16 two in five (by up to 0.002).

    Deviations from what transformers reads out of the file: the quantisation config is dropped, since the weights are
    plain now; the tokenizer's maximal length is the model's; and for the pre-tokenizer `smollm`, which transformers
    replaces by GPT-2's, single digits are split off first again, as in the published tokenizer (otherwise the newlines
    before a numbered list become other tokens).

    Raises:
        MachineError: The installed transformers does not read all weights of the file.
    """
    import torch
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    model, loading = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
    )
    if loading["missing_keys"] or loading["unexpected_keys"] or loading["mismatched_keys"]:
        raise MachineError(f"the installed transformers reads {gguf.name} only in part: {loading}")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = model.config.max_position_embeddings
    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    if model.config.__dict__.get("quantization_config") is not None:
        model.hf_quantizer.remove_quantization_config(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
