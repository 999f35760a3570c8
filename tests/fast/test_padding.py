"""Answers of models that take no masks of ours: side by side, padded, where a probe shows that they may be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask

from layersig.fast.decoder import Decoder
from layersig.generating.generation import generated
from layersig.generating.prompts import Prompt
from layersig.generating.rows import Rows
from layersig.generating.sampling import Sampler, Sampling
from layersig.stages.notes import noted
from tests.models.architectures import tiny_architecture
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = [Prompt(tuple(range(5, 5 + length)), (), most) for length, most in ((20, 4), (3, 12), (9, 12), (1, 7))]
NAME = "unpadding_stand_in"


def flash(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What flash attention computes under a mask of two dimensions: columns that are padding are left out."""
    rows, heads, queries, _ = query.shape
    keys, groups = key.shape[2], heads // key.shape[1]
    output = query.new_zeros(rows, queries, heads, value.shape[-1])
    for row in range(rows):
        real = torch.arange(keys) if attention_mask is None else attention_mask[row].nonzero()[:, 0]
        k, v = (each[row, :, real].repeat_interleave(groups, 0) for each in (key, value))
        own = real[real >= keys - queries]
        distance = torch.arange(len(real))[-len(own) :, None] - torch.arange(len(real))
        hidden = (distance < 0) | (distance >= (sliding_window or keys + 1))
        scores = (query[row, :, own - (keys - queries)] @ k.mT * scaling).masked_fill(hidden, -torch.inf)
        output[row, own - (keys - queries)] = (scores.softmax(-1) @ v).transpose(0, 1)
    return output, None


def blind(module: torch.nn.Module, *tensors: Tensor | None, **kwargs: Any) -> tuple[Tensor, None]:
    """The same, without a look at the padding."""
    query, key, value, _ = tensors
    return flash(module, query, key, value, None, **kwargs)


def model_with(attention: Any, architecture: str = "llama") -> PreTrainedModel:
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, flash_attention_mask)
    model = tiny_model(architecture, dtype=torch.float64)
    model.set_attn_implementation(NAME)
    return model


def written(model: PreTrainedModel, sampler: Sampler | None = None) -> tuple[list[list[int]], int]:
    """What is written, and in how many passes."""
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    decoder = Decoder(model)
    handle = model.register_forward_pre_hook(count)
    found = generated(decoder, tiny_tokenizer(), PROMPTS, 300, ends={2}, sampler=sampler)
    texts = sorted((each.prompt, each.tokens) for batch in found for each in batch)
    handle.remove()
    return [tokens for _, tokens in texts], passes


@pytest.mark.parametrize(("architecture", "sampling"), [("mistral", None), ("llama", Sampling(1.0, 0.95))])
def test_padded_answers_are_those_of_one_by_one(
    architecture: str, sampling: Sampling | None, as_gpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_with(flash, architecture)
    sampler = None if sampling is None else Sampler(sampling, range(len(PROMPTS)))
    assert Decoder(model).pads
    together, few = written(model, sampler)
    monkeypatch.setattr(Decoder, "_padding_agrees", lambda self: False)
    alone, many = written(model, sampler)
    assert together == alone
    assert few < many / 2
    for prompt, tokens in zip(PROMPTS, together, strict=True) if sampling is None else ():
        ids = torch.tensor([prompt.tokens])
        own = tiny_model(architecture, dtype=torch.float64).generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=prompt.most, do_sample=False, pad_token_id=0
        )
        assert own[0, ids.shape[1] :].tolist() == tokens


def note_of(name: str, why: str, how: str) -> str:
    told = "each request is run in full, and answers are written"
    return f"{name} cannot share what requests begin with: {why}; {told} {how}"


def test_attention_that_does_not_look_at_padding_is_noticed(
    as_gpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layersig.stages.notes._taken", set())
    with noted() as notes:
        decoder = Decoder(model_with(blind))
    assert not decoder.pads
    assert not decoder.shares
    assert notes == [note_of("LlamaForCausalLM", f"its attention, {NAME!r}, takes no masks of ours", "one by one")]


def test_a_model_that_cannot_share_is_named_with_the_reason_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layersig.stages.notes._taken", set())
    model = tiny_model("llama")
    model.model.layers[0].self_attn.register_forward_hook(
        lambda module, inputs, output: (output[0] + output[0].mean(1, True), *output[1:])
    )
    with noted() as notes:
        assert not Decoder(model).shares
        assert not Decoder(model).pads
        assert Decoder(tiny_model("llama")).hindrance is None
    assert notes == [note_of("LlamaForCausalLM", "its results with them are not its own", "one by one")]


@pytest.mark.parametrize(("architecture", "kind"), [("gpt_neo", "local"), ("doge", "dynamic_mask")])
def test_attention_that_counts_keys_by_itself_shares_nothing(architecture: str, kind: str) -> None:
    assert Decoder(tiny_architecture(architecture)).hindrance == f"it has layers of the kind {kind}"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("architecture", ["mamba2", "rwkv", "xlstm", "openai-gpt", "gemma4_text"])
def test_a_step_sees_what_came_before_whatever_cache_the_model_takes(architecture: str, fast: bool) -> None:
    model = tiny_architecture(architecture).double()
    with noted():
        decoder = Decoder(model, fast=fast)
    assert (decoder.pair_cost > 0) is hasattr(model.config, "num_attention_heads")
    rows = Rows(decoder, None, [[5, 6, 7, 8]])
    for tokens in ([5, 6, 7, 8, 9], [5, 6, 7, 8, 9, 10]):
        rows.step([0], tokens[-1:])
        due = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[:, -1]
        torch.testing.assert_close(rows.logits.double(), due.double(), rtol=0, atol=1e-5 * float(due.abs().max()))
    assert (rows.state() is None) is not decoder.shares
