from __future__ import annotations

import math

import pytest
import torch

from layersig.errors import StageFailed, UserError
from layersig.evaluating.model import SharedPrefixLM
from tests.evaluating.peers import FEWSHOT, documents, lm_eval_hf, pairs, prompts
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer, torch_threads

CHOICES = (" A", " B", " a long answer", " a longer answer", "no space")
REQUESTS = pairs(
    *((FEWSHOT + question + ":", choice) for question in ("a", "bb is long", "ccc") for choice in CHOICES),
    *((question + ": ", choice) for question in ("a", "bb is long") for choice in CHOICES),
    ("", " nothing before"),
    ("<s>begins with bos", " x"),
    ("  spaces  ", "x y"),
    ("a:", " A"),
)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_likelihoods_are_those_of_lm_eval(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture), tiny_tokenizer()
    shared = SharedPrefixLM(model, tokenizer)
    ours = shared.loglikelihood(REQUESTS)
    theirs = lm_eval_hf(model, tokenizer).loglikelihood(REQUESTS, disable_tqdm=True)
    assert shared.share
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in theirs], abs=2e-5)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_trees_end_to_end_are_those_of_padded_rows(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture, dtype=torch.float64), tiny_tokenizer()
    own = model.config._attn_implementation
    flat, padded = SharedPrefixLM(model, tokenizer), SharedPrefixLM(model, tokenizer)
    assert flat.decoder.flat is (own == "sdpa")
    padded.decoder.flat = False
    ours, theirs = flat.loglikelihood(REQUESTS), padded.loglikelihood(REQUESTS)
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in theirs], abs=1e-11)
    assert model.config._attn_implementation == own


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_lanes_change_rounding_only(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture, dtype=torch.float64), tiny_tokenizer()
    with torch_threads(1):
        alone = SharedPrefixLM(model, tokenizer).loglikelihood(REQUESTS)
    with torch_threads(2):
        lm = SharedPrefixLM(model, tokenizer, batch_tokens=100)
        with lm.decoder.scoring() as lanes:
            assert lanes.count == 2
        ours, again = lm.loglikelihood(REQUESTS), lm.loglikelihood(REQUESTS)
        assert torch.get_num_threads() == 2
    assert ours == again
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in alone], abs=1e-11)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in alone]


def test_sharing_runs_fewer_tokens_for_the_same_results() -> None:
    model, tokenizer = tiny_model("llama", dtype=torch.float64), tiny_tokenizer()
    shared, plain = SharedPrefixLM(model, tokenizer), SharedPrefixLM(model, tokenizer, share=False)
    ours, theirs = shared.loglikelihood(REQUESTS), plain.loglikelihood(REQUESTS)
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in theirs], abs=1e-11)
    assert shared.tokens < plain.tokens / 2


@pytest.mark.parametrize("batch_tokens", [1, 50, 300, 100_000])
def test_the_batch_changes_rounding_only(batch_tokens: int) -> None:
    model, tokenizer = tiny_model("gemma3_text", dtype=torch.float64), tiny_tokenizer()
    ours = SharedPrefixLM(model, tokenizer, batch_tokens=batch_tokens).loglikelihood(REQUESTS)
    reference = SharedPrefixLM(model, tokenizer, share=False, batch_tokens=1).loglikelihood(REQUESTS)
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in reference], abs=1e-11)


def test_a_log_likelihood_is_the_sum_over_the_continuation() -> None:
    model, tokenizer = tiny_model("qwen2", dtype=torch.float64), tiny_tokenizer()
    context, continuation = "what is", " this?"
    ids = torch.tensor([tokenizer.encode(context + continuation)])
    chances = model(ids).logits.log_softmax(-1)[0]
    start = len(tokenizer.encode(context))
    expected = sum(float(chances[place - 1, ids[0, place]]) for place in range(start, ids.shape[1]))
    [(found, _)] = SharedPrefixLM(model, tokenizer).loglikelihood(pairs((context, continuation)))
    assert found == pytest.approx(expected, abs=1e-11)


def test_long_inputs_lose_their_beginning_as_in_lm_eval() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    ours = SharedPrefixLM(model, tokenizer, max_length=20).loglikelihood(REQUESTS)
    theirs = lm_eval_hf(model, tokenizer, max_length=20).loglikelihood(REQUESTS, disable_tqdm=True)
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in theirs], abs=2e-5)


def test_whole_texts_are_scored_in_windows_as_in_lm_eval() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    # No stretch twice: where two windows hold equal tokens but score different numbers of them, lm-eval reads the
    # wrong positions.
    requests = documents(" ".join(str(number**3) for number in range(40)), "x", "another one")
    ours = SharedPrefixLM(model, tokenizer, max_length=32).loglikelihood_rolling(requests)
    theirs = lm_eval_hf(model, tokenizer, max_length=32).loglikelihood_rolling(requests, disable_tqdm=True)
    assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_generation_is_that_of_lm_eval(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture), tiny_tokenizer()
    requests = prompts(
        [FEWSHOT + "a", FEWSHOT + "bb is", FEWSHOT, "short", "somewhat longer than that"],
        until=["e", "zz"],
        max_gen_toks=20,
    )
    ours = SharedPrefixLM(model, tokenizer).generate_until(requests)
    assert ours == lm_eval_hf(model, tokenizer).generate_until(requests, disable_tqdm=True)
    assert any(ours)


def test_damaged_weights_stop_the_evaluation() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    lm = SharedPrefixLM(model, tokenizer)
    model.model.norm.weight[0] = math.nan
    with pytest.raises(StageFailed, match="NaN"):
        lm.loglikelihood(REQUESTS)


def test_sampling_is_refused() -> None:
    lm = SharedPrefixLM(tiny_model("llama"), tiny_tokenizer())
    with pytest.raises(UserError, match="greedy"):
        lm.generate_until(prompts(["a"], until=["b"], do_sample=True, temperature=1.0))
