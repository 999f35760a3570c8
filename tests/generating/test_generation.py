from __future__ import annotations

import pytest
import torch

from layersig.fast.decoder import Decoder
from layersig.generating.generation import generate
from layersig.generating.prompts import Prompt
from tests.evaluating.peers import FEWSHOT
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_tokens_are_those_of_generate(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture, dtype=torch.float64), tiny_tokenizer()
    texts = [FEWSHOT + "a", FEWSHOT + "bb is", "short", "x"]
    prompts = [Prompt(tuple(tokenizer.encode(text)), (), 12) for text in texts]
    for share in (True, False):
        ours = generate(Decoder(model), tokenizer, prompts, batch_tokens=1000, share=share)
        for prompt, written in zip(prompts, ours, strict=True):
            ids = torch.tensor([prompt.tokens])
            alone = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
            )
            assert written == alone[0, ids.shape[1] :].tolist()


def test_a_row_ends_at_its_own_stop_string() -> None:
    model, tokenizer = tiny_model("llama", dtype=torch.float64), tiny_tokenizer()
    ids = tuple(tokenizer.encode("some words"))
    [free] = generate(Decoder(model), tokenizer, [Prompt(ids, (), 30)], 1000)
    stop = tokenizer.decode(free[3:5])
    stopped, other = generate(Decoder(model), tokenizer, [Prompt(ids, (stop,), 30), Prompt(ids, (), 30)], 1000)
    assert stop in tokenizer.decode(stopped)
    assert stop not in tokenizer.decode(stopped[:-1])
    assert other == free
