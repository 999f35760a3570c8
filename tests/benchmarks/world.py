"""The model and the examples that the benchmarks share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from layersig.data.chat import ChatFormat
from layersig.data.encoding import encode
from layersig.data.examples import Example
from layersig.data.rows import read_rows
from layersig.data.split import split_conversations
from layersig.sources.resolve import resolve
from layersig.sources.source import Request
from layersig.store.cache import cache_root

CPU = torch.device("cpu")
RANK, MAX_TOKENS, BATCH = 32, 512, 8
EMBEDDED_DATA = "pypi:alpaca-gpt4-sample"


@cache
def request() -> Request:
    return Request(Path.cwd(), cache_root())


@cache
def model_folder() -> Path:
    return resolve("pypi:smollm2-135m-instruct", "model", request()).path


def base_model(dtype: torch.dtype = torch.bfloat16):
    return AutoModelForCausalLM.from_pretrained(model_folder(), dtype=dtype)


def peft_model(*, dropout: float, dtype: torch.dtype = torch.bfloat16, targets="all-linear"):
    """What a user of PEFT writes: adapters in float32 on a model in bfloat16; the same factors at every call."""
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, lora_dropout=dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    torch.manual_seed(0)
    return get_peft_model(base_model(dtype), config)


def trained(model) -> dict[str, torch.Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def copies(first):
    """Gives a PEFT model with the factors that it has now, whatever has become of them."""
    state = {name: value.detach().clone() for name, value in trained(first).items()}

    def fresh():
        for name, parameter in trained(first).items():
            parameter.data.copy_(state[name])
            parameter.grad = None
        first.train()
        return first

    return fresh


@cache
def tokenizer():
    return AutoTokenizer.from_pretrained(model_folder())


@cache
def examples(spec: str, count: int = 512) -> tuple[Example, ...]:
    """The first `count` conversations of a data set, as training sees them."""
    rows = read_rows(resolve(spec, "data", request()).path)
    split = split_conversations(rows.conversations, heldout=0, limit=count, root=0)
    return tuple(encode(ChatFormat(tokenizer()), split.train, MAX_TOKENS).examples)


def batches(found: Sequence[Example], count: int, *, grouped: bool) -> list[list[int]]:
    """`count` optimizer batches spread over the data: drawn at random, or each of examples of one length."""
    order = sorted(range(len(found)), key=lambda index: len(found[index]))
    places = [int((number + 0.5) * len(order) / count) for number in range(count)]
    near = [order[max(0, place - BATCH // 2) :][:BATCH] for place in places]
    if grouped:
        return near
    mixed = torch.randperm(BATCH * count, generator=torch.Generator().manual_seed(0)).tolist()
    flat = [index for batch in near for index in batch]
    return [[flat[place] for place in mixed[start : start + BATCH]] for start in range(0, len(flat), BATCH)]


def tokens(found: Sequence[Example], chosen: Sequence[Sequence[int]]) -> int:
    return sum(len(found[index]) for batch in chosen for index in batch)


def rows(found: Sequence[Example], chosen: Sequence[Sequence[int]]) -> list[dict[str, list[int]]]:
    """The same examples as a trainer of the Hugging Face stack reads them, batch after batch."""
    return [
        {
            "input_ids": found[index].tokens.tolist(),
            "labels": [
                int(token) if target else -100
                for token, target in zip(found[index].tokens, found[index].targets, strict=True)
            ],
        }
        for batch in chosen
        for index in batch
    ]


def padded(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Rows as one padded batch."""
    width = max(len(row["input_ids"]) for row in rows)
    shape = (len(rows), width)
    ids, mask, labels = (torch.full(shape, fill) for fill in (0, 0, -100))
    for place, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[place, :length] = torch.tensor(row["input_ids"])
        mask[place, :length] = 1
        labels[place, :length] = torch.tensor(row["labels"])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
