"""Rows in slots that are filled again, as on a GPU, against each prompt by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from layersig.fast.decoder import Decoder
from layersig.generating import generation, prompts, rows
from layersig.generating.generation import generated
from layersig.generating.prompts import Completion, Prompt
from layersig.generating.rows import Rows, Slots
from layersig.generating.sampling import Sampler, Sampling
from tests.evaluating.peers import FEWSHOT
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
MOST = (12, 3, 9, 30, 1, 17, 25, 2, 14, 6)
WORDS = ("a", "bb is", "ccc", "x of y", "short", "a rather longer end", "e", "ff", "g", "h h")
SHARED = [Prompt(tuple(TOKENIZER.encode(FEWSHOT + word)), (), most) for word, most in zip(WORDS, MOST, strict=True)]
UNLIKE = [Prompt(tuple(TOKENIZER.encode(word + " then")), (), most) for word, most in zip(WORDS, MOST, strict=True)]


@pytest.fixture(autouse=True)
def small(as_gpu: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choices of a GPU, with so little room to spare that everything happens often."""
    monkeypatch.setattr(rows, "_SPARE", 3)
    monkeypatch.setattr(generation, "_SPARE", 4)


def written(
    model: torch.nn.Module, prompts: list[Prompt], batch_tokens: int, *, fast: bool = True, **options: object
) -> dict[int, Completion]:
    """What is written after each prompt."""
    found = generated(Decoder(model, fast=fast), TOKENIZER, prompts, batch_tokens, ends={2}, **options)
    return {each.prompt: each for batch in found for each in batch}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many rows were admitted at a time, ran in a step, and were moved."""
    seen: dict[str, list[int]] = {"admit": [], "step": [], "_lay_out": []}
    for name, numbers in seen.items():
        own = getattr(Slots, name)

        def spied(self: Slots, *args: object, own=own, numbers=numbers) -> object:  # type: ignore[no-untyped-def]
            found = own(self, *args)
            numbers.append(len(self.live))
            return found

        monkeypatch.setattr(Slots, name, spied)
    return seen


@pytest.mark.parametrize("prompts", [SHARED, UNLIKE])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2", "gpt2"])
def test_tokens_are_those_of_each_prompt_alone(
    architecture: str, prompts: list[Prompt], events: dict[str, list[int]]
) -> None:
    model = tiny_model(architecture, dtype=torch.float64)
    tokens = 4 * max(len(prompt.tokens) for prompt in prompts) + 20
    found = written(model, prompts, tokens)
    assert len(events["admit"]) > 3  # refilled
    assert 2 < max(events["step"]) < len(prompts)
    assert len(events["_lay_out"]) > 2
    assert found == written(model, prompts, tokens, fast=False)
    assert {number: len(each.tokens) for number, each in found.items() if not each.ended} == {
        number: MOST[number] for number, each in found.items() if not each.ended
    }


def test_rows_that_outgrow_the_memory_give_way_and_come_back(
    events: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama", dtype=torch.float64)
    prompts = [Prompt((5 + number, 9, 30), (), 40) for number in range(6)]
    peak = []
    own = Slots.step

    def step(self: Slots, tokens: list[int]) -> torch.Tensor:
        peak.append(len(self.live) * (self.width + 1))
        return own(self, tokens)

    monkeypatch.setattr(Slots, "step", step)
    found = written(model, prompts, 60)
    assert max(peak) <= 60
    assert sum(events["admit"]) > 6 + 6  # some were admitted again
    assert found == written(model, prompts, 60, fast=False)


def test_one_prompt_that_is_too_long_runs_alone() -> None:
    model = tiny_model("llama", dtype=torch.float64)
    assert written(model, UNLIKE, 1) == written(model, UNLIKE, 1, fast=False)


def test_draws_belong_to_the_prompt() -> None:
    model = tiny_model("llama", dtype=torch.float64)
    sampling = Sampling(temperature=1.0, top_p=0.9)

    def drawn(tokens: int, *, fast: bool = True) -> dict[int, Completion]:
        return written(model, SHARED, tokens, fast=fast, sampler=Sampler(sampling, range(len(SHARED))))

    found = drawn(10_000)
    assert found == drawn(900) == drawn(900, fast=False)


def test_stops_and_adjusted_logits_reach_their_rows() -> None:
    model = tiny_model("llama", dtype=torch.float64)

    def adjust(index: int, tokens: list[int], logits: torch.Tensor) -> torch.Tensor:
        assert len(tokens) < MOST[index]
        return logits.index_fill(0, torch.tensor([20 + index]), 1e9) if len(tokens) == index else logits

    found = written(model, UNLIKE, 200, adjust=adjust)
    assert found == written(model, UNLIKE, 200, fast=False, adjust=adjust)
    assert all(each.tokens[number] == 20 + number for number, each in found.items() if len(each.tokens) > number)
    stop = TOKENIZER.decode(found[3].tokens[7:9])
    stopping = [prompt._replace(stops=(stop,)) for prompt in UNLIKE]
    stopped = written(model, stopping, 200, adjust=adjust)
    assert stopped == written(model, stopping, 200, fast=False, adjust=adjust)
    assert stopped[3].ended


def test_rounds_follow_from_the_prompts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_ROUND", 4)
    model = tiny_model("llama", dtype=torch.float64)

    def orders(known: set[int]) -> Iterator[tuple[int, ...]]:
        for batch in generated(Decoder(model), TOKENIZER, UNLIKE, 100, ends={2}, known=known):
            yield tuple(each.prompt for each in batch)

    every = list(orders(set()))
    assert sorted(map(len, every)) == [2, 4, 4]
    assert list(orders({*every[0], every[1][0]})) == every[1:]


def test_a_step_writes_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    slots = Slots(Decoder(model), None)
    monkeypatch.setattr(rows, "_SPARE", 50)
    logits = slots.admit([7, 8], [(5, 6, 7), (9, 8)])
    reference = Rows(Decoder(model), None, [(5, 6, 7), (9, 8)])
    torch.testing.assert_close(logits, reference.logits)
    places = [layer.keys.data_ptr() for layer in slots._layers]
    for token in range(10, 30):
        reference.step([0, 1], [token, token + 1])
        torch.testing.assert_close(slots.step([token, token + 1]), reference.logits, rtol=1e-4, atol=1e-5)
    assert [layer.keys.data_ptr() for layer in slots._layers] == places
