"""Tiny chat models that know a few answers by heart and end their turns as five families of models do.

Each is trained in a second: to a question, plain or in its chat template, it writes the answer, the token with which
its family ends a turn, and then babbles, so that whoever does not stop there has something else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ANSWERS = {"dog": "bark", "cat": "mew", "cow": "moo", "bee": "hum", "owl": "hoot", "pig": "oink"}
BABBLE = " no 7"
STEPS = 220


@dataclass(frozen=True)
class Family:
    """How models of a family end a turn.

    Attributes:
        special: Special tokens; their ids are their places.
        eos: The tokenizer's end-of-text token.
        end: The token that ends an assistant's turn.
        template: Chat template.
        generation: What `generation_config.eos_token_id` names.
        config: What `config.eos_token_id` names.
        bos: Token that the tokenizer puts first, if it does.
        pad: The tokenizer's padding token, if it has one.
        settings: What else `generation_config` says.
    """

    special: tuple[str, ...]
    eos: str
    end: str
    template: str
    generation: str | tuple[str, ...]
    config: str
    bos: str | None = None
    pad: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def ids(self, names: str | tuple[str, ...]) -> int | list[int]:
        """Ids of special tokens."""
        return self.special.index(names) if isinstance(names, str) else [self.special.index(name) for name in names]


FAMILIES = {
    "llama-3": Family(
        special=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        eos="<|end_of_text|>",
        end="<|eot_id|>",
        template=(
            "{% for m in messages %}{{ (bos_token if loop.first else '') + '<|start_header_id|>' + m['role'] + "
            "'<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
        ),
        generation=("<|end_of_text|>", "<|eot_id|>"),
        config="<|end_of_text|>",
        bos="<|begin_of_text|>",
        settings={"do_sample": True, "temperature": 0.6, "top_p": 0.9},
    ),
    "gemma": Family(
        special=("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        eos="<eos>",
        end="<end_of_turn>",
        template=(
            "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
            "{% endif %}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else "
            "m['role']) + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
        ),
        generation=("<eos>", "<end_of_turn>"),
        config="<eos>",
        bos="<bos>",
        pad="<pad>",
    ),
    "phi-3": Family(
        special=("<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"),
        eos="<|endoftext|>",
        end="<|end|>",
        template=(
            "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
        ),
        generation=("<|endoftext|>", "<|assistant|>", "<|end|>"),
        config="<|endoftext|>",
        bos="<s>",
        pad="<|endoftext|>",
    ),
    "qwen": Family(
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        eos="<|im_end|>",
        end="<|im_end|>",
        template=(
            "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
        ),
        generation=("<|im_end|>", "<|endoftext|>"),
        config="<|endoftext|>",
        pad="<|endoftext|>",
        settings={"repetition_penalty": 1.1, "do_sample": True, "top_k": 20},
    ),
    "mistral": Family(
        special=("<unk>", "<s>", "</s>"),
        eos="</s>",
        end="</s>",
        template=(
            "{{ bos_token }}{% for m in messages %}"
            "{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
            "{% else %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% endif %}{% endfor %}"
        ),
        generation="</s>",
        config="</s>",
        bos="<s>",
    ),
}
"""Chat models of other makers, which end turns in other ways."""
TRAINED = [name if name in ("llama-3", "gemma") else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
"""For tests of `chat_model`: training one takes seconds, so most families are left to slow runs."""


def chat_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """One token a byte behind the special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*family.special, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(family.special))
    if family.bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, family.special.index(family.bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        chat_template=family.template,
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


def question(animal: str) -> str:
    """What is asked of an animal."""
    return f"{animal}:"


@cache
def chat_model(name: str) -> LlamaForCausalLM:
    """A trained model of a family; made once a process. Leave it as it is."""
    family, tokenizer = FAMILIES[name], chat_tokenizer(FAMILIES[name])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=48,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                bos_token_id=None,
                eos_token_id=family.ids(family.config),
                pad_token_id=None,
            )
        )
    _learn(model, [_tokens(tokenizer, family, animal, chat) for animal in ANSWERS for chat in (False, True)])
    model.generation_config.update(eos_token_id=family.ids(family.generation), **family.settings)
    return model.eval().requires_grad_(False)


def save_chat_model(folder: Path, name: str) -> Path:
    """Write a model of a family with its tokenizer, and return the folder."""
    chat_model(name).save_pretrained(folder)
    chat_tokenizer(FAMILIES[name]).save_pretrained(folder)
    return folder


def _tokens(tokenizer: Any, family: Family, animal: str, chat: bool) -> tuple[list[int], int]:
    """Prompt, answer, end and babble; and how many of them are the prompt."""
    asked = [{"role": "user", "content": question(animal)}]
    if chat:
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer.encode(text, add_special_tokens=False)
    else:
        prompt = tokenizer.encode(question(animal))
    rest = tokenizer.encode(ANSWERS[animal] + family.end + BABBLE * 3, add_special_tokens=False)
    return prompt + rest, len(prompt)


def _learn(model: LlamaForCausalLM, texts: list[tuple[list[int], int]]) -> None:
    width = max(len(tokens) for tokens, _ in texts)
    inputs = torch.tensor([tokens + [0] * (width - len(tokens)) for tokens, _ in texts])
    targets = torch.tensor(
        [[-100] * prompt + tokens[prompt:] + [-100] * (width - len(tokens)) for tokens, prompt in texts]
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    # A falling rate: at a constant one the last steps still jump, and where to depends on the processor's rounding.
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        logits = model(inputs, use_cache=False).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
