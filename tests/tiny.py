"""Tiny random models of many architectures, and a byte-level tokenizer, for every test that needs a model.

The models have 3 blocks (4 where a pattern of blocks repeats), hidden size 32 and one token per byte. Weights are
drawn wider than Hugging Face's default, so that every layer has a visible effect on the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
VOCABULARY = len(SPECIAL_TOKENS) + 256

_LLAMA_LIKE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "llama": _LLAMA_LIKE,
    "mistral": {**_LLAMA_LIKE, "sliding_window": 8},
    "qwen2": _LLAMA_LIKE,
    "qwen3": _LLAMA_LIKE,
    "gemma2": {**_LLAMA_LIKE, "num_hidden_layers": 4, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": {**_LLAMA_LIKE, "num_hidden_layers": 4, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "phi3": {**_LLAMA_LIKE, "pad_token_id": 0},
    "gpt_neox": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    },
    "gpt2": {"n_embd": 32, "n_inner": 48, "n_layer": 3, "n_head": 4, "n_positions": 256},
    "olmo2": _LLAMA_LIKE,
    "qwen3_moe": {
        **_LLAMA_LIKE,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "decoder_sparse_step": 1,
    },
    # Beyond the usual: linear modules that bear the names of experts, and experts stored as (experts, in, out).
    "qwen2_moe": {
        **_LLAMA_LIKE,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 24,
    },
    "gpt_oss": {
        **_LLAMA_LIKE,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 8,
    },
}
MIXTURES = ("qwen3_moe", "qwen2_moe", "gpt_oss")
ARCHITECTURES = tuple(name for name in _CONFIGS if name not in MIXTURES[1:])

_CHATML = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def tiny_model(
    architecture: str, *, dtype: torch.dtype = torch.float32, tied: bool | None = None, seed: int = 0
) -> PreTrainedModel:
    """A random model in eval mode on the CPU, with gradients off, the same for the same arguments.

    Args:
        architecture: One of `ARCHITECTURES` or `MIXTURES` (Hugging Face's model types).
        dtype: Dtype of all parameters; values are drawn in float32 and then cast.
        tied: Whether the output head is tied to the embedding; None keeps the architecture's habit.
        seed: Seed of the weights; the global generators stay untouched.
    """
    settings = dict(_CONFIGS[architecture])
    settings |= {"bos_token_id": 1, "eos_token_id": 2, "vocab_size": VOCABULARY}
    if tied is not None:
        settings["tie_word_embeddings"] = tied
    config = AutoConfig.for_model(architecture, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=0.15, generator=generator)
                else:
                    parameter.add_(torch.empty_like(parameter).normal_(std=0.02, generator=generator))
    if dtype is torch.float64 and architecture in MIXTURES:
        model.set_experts_implementation("eager")  # the fast path of transformers knows no float64
    model.eval().requires_grad_(False)
    return model.to(dtype)


def tiny_tokenizer(*, chat_template: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte: 0 pad, 1 bos, 2 eos, 3 unk, then the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
    if chat_template:
        fast.chat_template = _CHATML
    return fast


def save_tiny(
    folder: Path,
    architecture: str = "llama",
    *,
    dtype: torch.dtype = torch.float32,
    tied: bool | None = None,
    seed: int = 0,
    chat_template: bool = True,
) -> Path:
    """Write a loadable checkpoint with tokenizer into `folder` and return the folder."""
    tiny_model(architecture, dtype=dtype, tied=tied, seed=seed).save_pretrained(folder)
    tiny_tokenizer(chat_template=chat_template).save_pretrained(folder)
    return folder


def tiny_batch(*, rows: int = 2, length: int = 12, seed: int = 0) -> torch.Tensor:
    """Random token ids of shape (rows, length) without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(SPECIAL_TOKENS), VOCABULARY, (rows, length), generator=generator)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Within this context torch has so many threads."""
    own = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(own)


class Double(TorchFunctionMode):
    """Makes models compute in float64 throughout: norms, softmax and routers of transformers ask for float32.

    Finite differences of a loss are exact to about 1e-10 under it, and to about 1e-2 without. Only what runs in the
    same thread is concerned.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        wide = {key: _widen(value) for key, value in (kwargs or {}).items()}
        return function(*map(_widen, args), **wide)


def _widen(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
