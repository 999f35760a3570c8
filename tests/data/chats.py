"""A small tokenizer with merges, chat templates of many styles, and conversations to render with them."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from layersig.data.conversation import Conversation, Message, content_id

CONTROL = (
    "<pad>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|head|>",
    "<|body|>",
    "<|eot|>",
    "<turn>",
    "</turn>",
)

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# No opening of the assistant's turn, BOS before every user turn, the system message folded into the first one.
BRACKETS = (
    "{% set ns = namespace(system='') %}"
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{% set ns.system = '<<SYS>>\n' + m.content + '\n<</SYS>>\n\n' %}"
    "{% elif m.role == 'user' %}{{ bos_token }}[INST] {{ ns.system + m.content }} [/INST]{% set ns.system = '' %}"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}"
    "{% endfor %}"
)

# One BOS, headers, no white space between turns, and the date.
HEADERS = (
    "{{ bos_token }}{% for m in messages %}"
    "<|head|>{{ m.role }}<|body|>\n\n"
    "{% if loop.first %}Today is {{ strftime_now('%d %b %Y') }}. {% endif %}"
    "{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|body|>\n\n{% endif %}"
)

NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}</turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)

SILENT_ABOUT_SYSTEM = (
    "{% for m in messages %}{% if m.role != 'system' %}<turn>{{ m.role }}\n{{ m.content }}</turn>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)

# Drops the thoughts of every answer but the last.
REWRITING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Opens the assistant's turn with a thought that it does not keep.
THOUGHT_OPENING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)

MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Only the end of the conversation has a token more (Phi).
CLOSING = (
    "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}</turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% else %}{{ eos_token }}{% endif %}"
)

# The last answer ends with another token than earlier ones (OLMo 3, gpt-oss).
OTHER_CLOSING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<|body|>{{ m.content }}"
    "{% if m.role == 'assistant' and loop.last and not add_generation_prompt %}{{ eos_token }}"
    "{% else %}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|body|>{% endif %}"
)

MARKED_WITHOUT_END = MARKED.replace("<|im_end|>{% endgeneration %}\n", "{% endgeneration %}<|im_end|>\n")

# The block holds the whole turn, with an empty thought that the prompt holds too (SmolLM3).
MARKED_WITH_HEADER = (
    "{% for m in messages %}"
    "{% if m.role == 'assistant' %}{% generation %}<|im_start|>assistant\n<think>\n\n</think>\n"
    "{{ m.content }}<|im_end|>\n{% endgeneration %}"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n{% endif %}"
)

# Headers and ends without white space, the end outside of the block.
MARKED_TIGHT = (
    "{% for m in messages %}<|head|>{{ m.role }}<|body|>"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|body|>{% endif %}"
)


def merging_tokenizer(
    chat_template: str | None = None, *, adds_bos: bool = False, metaspace: bool = False
) -> PreTrainedTokenizerFast:
    """A BPE tokenizer with merges, byte-level or (`metaspace`) with `▁` for a space, and the tokens of all styles."""
    backend = Tokenizer(models.BPE(byte_fallback=metaspace, unk_token="<pad>" if metaspace else None))
    if metaspace:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        backend.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    letters = "".join(chr(code) for code in range(32, 127))
    corpus = [
        "user assistant system You help. Where is Rome? In Italy, I think. [INST] [/INST] <<SYS>> <</SYS>>",
        "And Oslo? In Norway.\n\nthinking Today is the answer:: yes\n\n User: Assistant:",
        " ".join(letters),
    ] * 20
    alphabet = list(letters) if metaspace else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(CONTROL), initial_alphabet=[*alphabet, "▁"], show_progress=False
    )
    backend.train_from_iterator(corpus, trainer)
    backend.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=list(CONTROL[3:]),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def conversation(*texts: str, system: str | None = None, group: str = "g") -> Conversation:
    """User and assistant in turn."""
    turns = tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(texts))
    messages = turns if system is None else (Message("system", system), *turns)
    return Conversation(content_id(messages), group, messages)
