"""Memory that runs out: passes go on in halves, with the results of larger pieces but for rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.errors import is_device_lost, is_out_of_memory
from layersig.evaluating.heldout import heldout_losses
from layersig.evaluating.model import SharedPrefixLM
from layersig.fast.decoder import Decoder
from layersig.fast.runner import Workload, reading_runner
from layersig.generating.generation import generated
from layersig.generating.prompts import Prompt
from layersig.generating.sampling import Sampler, Sampling
from layersig.stages.halving import Halving
from layersig.stages.sizes import kept_sizes
from layersig.training.callbacks import Callback
from layersig.training.gradients import visit_gradients
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.tiny import tiny_model, tiny_tokenizer
from tests.training.world import BATCHES, SETTINGS, STREAMS, adapted, examples

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("error", "memory", "lost"),
    [
        (FULL, True, False),
        (MemoryError(), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True, False),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True, False),
        (torch.AcceleratorError("CUDA error: out of memory"), True, False),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul`"), False, False),
        (ValueError("shapes"), False, False),
    ],
)
def test_a_lack_of_memory_and_a_lost_device_are_told_apart(error: Exception, memory: bool, lost: bool) -> None:
    assert is_out_of_memory(error) is memory
    assert is_device_lost(error) is lost


def room_for(tokens: int, calls: list[list[int]]) -> Callable[[Sequence[int]], list[int]]:
    def work(batch: Sequence[int]) -> list[int]:
        calls.append(list(batch))
        if sum(batch) > tokens:
            raise FULL
        return [10 * each for each in batch]

    return work


def test_batches_are_halved_until_they_fit_and_stay_as_small() -> None:
    calls: list[list[int]] = []
    freed: list[int] = []
    halving: Halving[int] = Halving("numbers", sum, lambda: freed.append(1))
    with kept_sizes() as sizes:
        found = halving.run(room_for(5, calls), [2, 2, 2, 2, 2])
        assert [each for piece in found for each in piece] == [20] * 5
        assert calls == [[2, 2, 2, 2, 2], [2, 2], [2], [2, 2]]
        calls.clear()
        halving.run(room_for(5, calls), [4, 1, 1, 1])
    assert calls == [[4, 1], [1, 1]]
    assert sizes.halved == {"numbers": 5}
    assert len(freed) == 1


def test_what_cannot_be_divided_is_given_up() -> None:
    halving: Halving[int] = Halving("numbers", sum, lambda: None)
    with pytest.raises(torch.OutOfMemoryError):
        halving.run(room_for(5, []), [2, 6, 2])
    with pytest.raises(torch.OutOfMemoryError):
        halving.together(lambda pieces: [room_for(5, [])(piece) for piece in pieces], [[2, 2, 2], [6]])
    assert halving.together(lambda pieces: [room_for(5, [])(piece) for piece in pieces], [[2, 2, 1]])


class Calls(list[int]):
    """Rows of every input of a linear layer since the first step, or from the beginning where nothing is trained."""

    counted = True


@contextmanager
def failing_at(number: int = 0, *, rows: int = 0) -> Iterator[Calls]:
    """The allocator fails in the linear layer that is called as that number, or in all with more than `rows` rows."""
    calls = Calls()
    forward = nn.Linear.forward

    def failing(self: nn.Linear, x: Tensor) -> Tensor:
        if not calls.counted:
            return forward(self, x)
        calls.append(x.numel() // x.shape[-1])
        if len(calls) == number or (rows and calls[-1] > rows):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return forward(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Linear, "forward", failing)
        yield calls


class Counted(Callback):
    """Leaves out what runs before the first step: probes with a single example, which nothing can divide."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        calls.counted = False

    def before_step(self, number: int) -> None:
        self._calls.counted = True


def trained(calls: Calls, **settings: Any) -> dict[str, Tensor]:
    """LoRA factors after three steps, the third of which repeats examples of the others."""
    chosen = ("model.layers.1.mlp.up_proj", "model.layers.2.self_attn.v_proj")
    model = adapted("llama", layers=chosen, dropout=0.3, factors=torch.float64)
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    own = SETTINGS.model_copy(update={"micro_batch_tokens": 200, **settings})
    work = Workload(model, parameters, examples(), BATCHES, own, STREAMS)
    train(work, Optimization.of(own), [Counted(calls)])
    return {name: each.detach().clone() for name, each in parameters.items()}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_training_goes_on_in_halves(checkpointing: bool, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packed:
        monkeypatch.setattr("layersig.fast.packing.why_padded", lambda *_: "asked")
    with failing_at() as calls:
        whole = trained(calls, gradient_checkpointing=checkpointing)
    count = len(calls)
    for number in range(1, count + 1, max(1, count // 4)):
        with failing_at(number) as calls, kept_sizes() as sizes:
            broken = trained(calls, gradient_checkpointing=checkpointing)
        assert sizes.halved.keys() == {"training examples"}
        for name, value in whole.items():
            torch.testing.assert_close(broken[name], value, rtol=1e-9, atol=1e-12)


def test_the_smaller_size_is_kept_to_the_end_of_a_training() -> None:
    longest = max(len(each) for each in examples())
    whole = trained(Calls())
    with failing_at(rows=2 * longest) as calls, kept_sizes() as sizes:
        narrow = trained(calls)
    assert 1 <= sum(rows > 2 * longest for rows in calls) <= 3
    assert 0 < sizes.halved["training examples"] <= 4 * longest
    for name, value in whole.items():
        torch.testing.assert_close(narrow[name], value, rtol=1e-9, atol=1e-12)


def test_gradients_are_shown_once_wherever_memory_runs_out() -> None:
    def shown() -> dict[tuple[int, str], Tensor]:
        model = tiny_model("llama", dtype=torch.float64).requires_grad_(False)
        parameters = {name: each for name, each in model.named_parameters() if "proj" in name}
        seen: dict[tuple[int, str], Tensor] = {}

        def visit(batch: int, name: str, gradient: Tensor) -> None:
            assert (batch, name) not in seen
            seen[batch, name] = gradient.clone()

        with reading_runner(model, examples(), 80, pack=False) as runner:
            visit_gradients(runner, parameters, examples(), BATCHES[:2], visit)
        return seen

    with failing_at() as calls:
        whole = shown()
    for number in range(1, len(calls) + 1, max(1, len(calls) // 4)):
        with failing_at(number):
            found = shown()
        assert found.keys() == whole.keys()
        for key, value in whole.items():
            torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-12)


def asked(count: int) -> list[Instance]:
    texts = [f"{chr(40 + number)} of which?" * (1 + number % 3) for number in range(count)]
    return [Instance("loglikelihood", {}, (text, f" {number}"), number) for number, text in enumerate(texts)]


def losses(model: PreTrainedModel) -> Callable[[], list[float]]:
    return lambda: [each.value for each in heldout_losses(model, examples(), "chats", 200)]


def likelihoods(model: PreTrainedModel) -> Callable[[], list[float]]:
    scored = SharedPrefixLM(model, tiny_tokenizer(), batch_tokens=400)
    return lambda: [value for value, _ in scored.loglikelihood(asked(30))]


def texts(model: PreTrainedModel) -> Callable[[], list[list[int]]]:
    decoder, tokenizer = Decoder(model), tiny_tokenizer()
    prompts = [Prompt((*range(5, 80), 5 + n), (), 4) for n in range(6)]

    def run() -> list[list[int]]:
        sampler = Sampler(Sampling(temperature=1.0), range(6))
        found = generated(decoder, tokenizer, prompts, 2000, ends=frozenset(), sampler=sampler)
        return [each.tokens for batch in found for each in batch]

    return run


@pytest.mark.parametrize(
    ("run", "what"), [(losses, "held-out examples"), (likelihoods, "requests"), (texts, "answers")]
)
def test_evaluation_and_generation_go_on_in_halves(
    run: Callable[[PreTrainedModel], Callable[[], Any]], what: str
) -> None:
    model = tiny_model("llama", dtype=torch.float64).requires_grad_(False)
    prepared = run(model)
    with failing_at() as calls:
        whole = prepared()
    halved = 0
    # The later part, behind the beginnings that are shared: one sequence, which nothing can divide.
    for number in range(len(calls) // 4, len(calls), max(1, len(calls) // 6)):
        prepared = run(model)
        with failing_at(number), kept_sizes() as sizes:
            found = prepared()
        assert found == (whole if run is texts else pytest.approx(whole, rel=1e-9))
        halved += sizes.halved.keys() == {what}
    assert halved >= 3
