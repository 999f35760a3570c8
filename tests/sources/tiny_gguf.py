"""A one-block Llama as a GGUF file, and what its weights must dequantise to."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from tokenizers import pre_tokenizers

HEADS, KV_HEADS, HEAD_DIM, HIDDEN, INNER = 2, 1, 32, 64, 96
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
NAMES = {
    "attn_q": ("self_attn.q_proj", (HEADS * HEAD_DIM, HIDDEN)),
    "attn_k": ("self_attn.k_proj", (KV_HEADS * HEAD_DIM, HIDDEN)),
    "attn_v": ("self_attn.v_proj", (KV_HEADS * HEAD_DIM, HIDDEN)),
    "attn_output": ("self_attn.o_proj", (HIDDEN, HEADS * HEAD_DIM)),
    "ffn_gate": ("mlp.gate_proj", (INNER, HIDDEN)),
    "ffn_up": ("mlp.up_proj", (INNER, HIDDEN)),
    "ffn_down": ("mlp.down_proj", (HIDDEN, INNER)),
}


def _tokens() -> tuple[list[str], list[str]]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = ["Ċ Ċ", "Ġ Ġ"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet, *(merge.replace(" ", "") for merge in merges)]
    return tokens, merges


def write_tiny_gguf(path: Path) -> dict[str, np.ndarray]:
    """A one-block Llama in Q4_1 with the pre-tokenizer `smollm`; returns what its weights dequantise to."""
    generator = np.random.default_rng(0)
    tokens, merges = _tokens()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    expected: dict[str, np.ndarray] = {}

    def add(name: str, target: str, shape: tuple[int, ...]) -> None:
        weight = generator.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, weight)
            expected[target] = weight
        else:
            kind = gguf.GGMLQuantizationType.Q4_1
            packed = gguf.quants.quantize(weight, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
            expected[target] = gguf.quants.dequantize(packed, kind)

    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), HIDDEN))
    add("output_norm.weight", "model.norm.weight", (HIDDEN,))
    add("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", (HIDDEN,))
    add("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight", (HIDDEN,))
    for name, (target, shape) in NAMES.items():
        add(f"blk.0.{name}.weight", f"model.layers.0.{target}.weight", shape)
    for target, heads in (("q_proj", HEADS), ("k_proj", KV_HEADS)):
        key = f"model.layers.0.self_attn.{target}.weight"
        # GGUF keeps the two halves of a rotary pair side by side, Hugging Face half a head apart.
        expected[key] = expected[key].reshape(heads, HEAD_DIM // 2, 2, HIDDEN).swapaxes(1, 2).reshape(-1, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected
