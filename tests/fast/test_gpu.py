"""Every choice that is made for a GPU, on a CPU, against the plain twins: losses and gradients of all that trains."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lm_eval.api.instance import Instance
from torch import Tensor

from layersig.evaluating.model import SharedPrefixLM
from layersig.fast.decoder import Decoder
from layersig.fast.packing import why_padded
from layersig.generating.generation import generated
from layersig.generating.prompts import Prompt
from layersig.generating.sampling import Sampler, Sampling
from tests.evaluating.peers import FEWSHOT
from tests.fast.twins import BUDGETS, KINDS, Kind, adalora, compare, dense_gates, full, lora, low_rank_gates
from tests.tiny import tiny_model, tiny_tokenizer

ARCHITECTURES = (
    "llama",
    "mistral",
    "gemma2",
    "qwen3",
    "gpt2",
    "gpt_neox",
    "qwen3_moe",
)  # windows: 2nd, 3rd; capped: 3rd
REST = (adalora, low_rank_gates, dense_gates)
"""Kinds whose blocks are recomputed as those of others are."""


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
@pytest.mark.parametrize("kind", KINDS)
def test_twins_agree(kind: Kind, architecture: str, as_gpu: list[tuple[int, int]]) -> None:
    compare(kind, architecture, torch.float64, 75)
    assert {(-1, 0)} <= set(as_gpu) if architecture == "llama" else {(7, 0)} <= set(as_gpu)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_twins_agree_everywhere(
    kind: Kind, architecture: str, budget: int, dtype: torch.dtype, as_gpu: list[tuple[int, int]]
) -> None:
    compare(kind, architecture, dtype, budget)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", KINDS[:-1])
def test_twins_agree_with_gradient_checkpointing(kind: Kind, architecture: str, as_gpu: list[tuple[int, int]]) -> None:
    # In float32, since blocks that run again in the backward pass do so outside of `Double`.
    compare(kind, architecture, torch.float32, 75, again=True)


@pytest.mark.parametrize(
    ("architecture", "expected"), [("llama", True), ("mistral", True), ("gpt2", True), ("gemma2", False)]
)
def test_what_is_packed(architecture: str, expected: bool, as_gpu: list[tuple[int, int]]) -> None:
    # Windows are the kernel's own; soft-capped scores are not.
    assert (why_padded(tiny_model(architecture), 30) is None) is expected
    assert (set(as_gpu) == {(7, 0)} if architecture == "mistral" else (7, 0) not in as_gpu) or not expected


def test_a_window_that_the_kernel_is_not_told_of_is_noticed(
    as_gpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from layersig.fast import varlen

    model, kernel = tiny_model("mistral"), varlen.varlen_attn
    monkeypatch.setattr(varlen, "varlen_attn", lambda *args, **kw: kernel(*args, **{**kw, "window_size": (-1, 0)}))
    assert why_padded(model, 8) is None
    assert why_padded(model, 30) is not None


def test_a_torch_without_the_kernel_pads(as_gpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    from layersig.fast import varlen

    monkeypatch.setattr(varlen, "runs", lambda device, dtype: False)
    compare(lora, "llama", torch.float64, 75)
    assert not as_gpu


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_keys_that_heads_share_are_repeated_for_an_older_kernel(
    architecture: str, as_gpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from layersig.fast import varlen

    kernel = varlen.varlen_attn

    def of_torch_2_11(*args: Tensor | int, scale: float, window_size: tuple[int, int]) -> Tensor:
        return kernel(*args, scale=scale, window_size=window_size)

    monkeypatch.setattr(varlen, "varlen_attn", of_torch_2_11)
    compare(full, architecture, torch.float64, 75)
    assert as_gpu


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_scores_and_texts_are_those_of_the_plain_twin(architecture: str, as_gpu: list[tuple[int, int]]) -> None:
    model, tokenizer = tiny_model(architecture, dtype=torch.float64), tiny_tokenizer()
    asked = [
        Instance("loglikelihood", {}, (FEWSHOT * (number % 2) + f"which of {number // 3}", choice), number)
        for number, choice in enumerate([" one", " two", " three"] * 4)
    ]
    written = [Instance("generate_until", {}, (FEWSHOT + word, {"max_gen_toks": 9}), 0) for word in ("a", "bb", "c d")]
    found = []
    for share in (True, False):
        lm = SharedPrefixLM(model, tokenizer, share=share, max_length=2000)
        assert not lm.decoder.flat
        found.append((lm.loglikelihood(asked), lm.generate_until(written)))
    assert [value for value, _ in found[0][0]] == pytest.approx([value for value, _ in found[1][0]], rel=1e-6)
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("kind", [lora, full, *(pytest.param(kind, marks=pytest.mark.slow) for kind in REST)])
def test_recomputed_blocks_give_the_same_bits(kind: Kind, as_gpu: list[tuple[int, int]]) -> None:
    (loss, kept), (other, recomputed) = (kind("llama", torch.float32, 75, True, again) for again in (False, True))
    assert loss == other
    assert kept.keys() == recomputed.keys()
    assert all(torch.equal(value, recomputed[name]) for name, value in kept.items())


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, 0.9)])
def test_rows_that_write_together_wait_for_the_device_together(
    sampling: Sampling, as_gpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    def counted(read: Callable[[Tensor], object]) -> Callable[[Tensor], object]:
        def method(tensor: Tensor) -> object:
            nonlocal reads
            reads += 1
            return read(tensor)

        return method

    decoder, tokenizer = Decoder(tiny_model("llama")), tiny_tokenizer()
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "cpu", "numpy"):
        monkeypatch.setattr(Tensor, name, counted(getattr(Tensor, name)))
    found = []
    for most in (4, 24):
        prompts = [Prompt(tuple(range(5, 9 + number)), (), most) for number in range(12)]
        reads = 0
        list(generated(decoder, tokenizer, prompts, 10_000, ends=(), sampler=Sampler(sampling, range(12))))
        found.append(reads)
    assert 0 < found[1] - found[0] <= 3 * 20
