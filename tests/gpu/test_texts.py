"""Scores and texts on a GPU, against the plain twins, transformers and a CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layersig.evaluating.heldout import heldout_losses
from layersig.fast.decoder import Decoder
from layersig.generating.generation import generate
from layersig.generating.prompts import Prompt
from layersig.generating.sampling import Sampler, Sampling
from tests.tiny import tiny_model, tiny_tokenizer
from tests.training.world import examples

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2", "qwen2"])
def test_shared_beginnings_change_no_score(architecture: str, device: torch.device) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance

    from layersig.evaluating.model import SharedPrefixLM
    from tests.evaluating.peers import FEWSHOT

    model, tokenizer = tiny_model(architecture).to(device), tiny_tokenizer()
    asked = [
        Instance("loglikelihood", {}, (FEWSHOT * (number % 2) + f"which of {number // 3}", choice), number)
        for number, choice in enumerate([" one", " two", " three"] * 4)
    ]
    found = []
    for share in (True, False):
        lm = SharedPrefixLM(model, tokenizer, share=share, max_length=2000)
        assert lm.decoder.shares is share
        found.append([value for value, _ in lm.loglikelihood(asked)])
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2"])
def test_greedy_texts_are_those_of_transformers(architecture: str, device: torch.device) -> None:
    model, tokenizer = tiny_model(architecture).to(device), tiny_tokenizer()
    texts = ["the beginning of a text " * 5 + word for word in ("a", "bb is")] + ["short", "x"]
    prompts = [Prompt(tuple(tokenizer.encode(text)), (), 12) for text in texts]
    for batch in (1000, 150):
        for prompt, written in zip(prompts, generate(Decoder(model), tokenizer, prompts, batch), strict=True):
            ids = torch.tensor([prompt.tokens], device=device)
            alone = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
            )
            assert written == alone[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("sampling", [Sampling(0.7), Sampling(0.7, 0.9), Sampling(1.0, 0.95, 40), Sampling()])
def test_draws_are_those_of_a_cpu(sampling: Sampling, device: torch.device) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 5000)).astype(np.float32)) * 3
    rows = range(64)
    here, there = (Sampler(sampling, rows).choose(logits.to(where), rows) for where in (device, torch.device("cpu")))
    assert here == there


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_losses_are_those_of_a_cpu(architecture: str, device: torch.device) -> None:
    found = []
    for where in (device, torch.device("cpu")):
        model = tiny_model(architecture).to(where)
        found.append([each.value for each in heldout_losses(model, examples(), "chats", 100)])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
