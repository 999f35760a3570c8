"""A batch of answers that is killed while it is written continues with the bits that it had, token by token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from layersig.fast import profile
from layersig.fast.decoder import Decoder
from layersig.generating import generation, rows
from layersig.generating.generation import generated
from layersig.generating.prompts import Completion
from layersig.generating.sampling import GREEDY, Sampler, Sampling
from layersig.stages import interval
from tests.generating.test_refilling import SHARED, TOKENIZER, UNLIKE
from tests.tiny import tiny_model


class Killed(BaseException):
    """What a signal does to a process, in this one."""


@pytest.fixture(params=[False, True], ids=["together", "in turn"])
def refills(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether rows are filled into slots in turn, as on a GPU."""
    monkeypatch.setattr(interval, "SECONDS", 0.0)
    monkeypatch.setattr(interval, "SHARE", float("inf"))
    monkeypatch.setattr(rows, "_SPARE", 3)
    monkeypatch.setattr(generation, "_SPARE", 4)
    own = profile.profile_of
    monkeypatch.setattr(profile, "profile_of", lambda device: replace(own(device), refills=request.param))
    return bool(request.param)


def _write(
    state: Path | None, prompts: list, sampling: Sampling, deadly: int = 0, manner: str = ""
) -> tuple[dict[int, Completion], int, int]:
    """What is written, the steps of the model, and the tokens that it was told of."""
    decoder, steps, tokens = Decoder(tiny_model("llama")), 0, 0
    own = decoder.forward

    def forward(*arguments: object, **options: object) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == deadly:
            raise Killed
        return own(*arguments, **options)

    def done(_: int, ran: int) -> None:
        nonlocal tokens
        tokens += ran

    decoder.forward = forward  # type: ignore[method-assign]
    sampler = Sampler(sampling, range(len(prompts)))
    length = 4 * max(len(prompt.tokens) for prompt in prompts) + 40
    found = generated(
        decoder, TOKENIZER, prompts, length, ends={2}, sampler=sampler, state=state, manner=manner, done=done
    )
    return {each.prompt: each for batch in found for each in batch}, steps, tokens


@pytest.mark.parametrize("prompts", [SHARED, UNLIKE], ids=["shared", "unlike"])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0)], ids=["greedy", "drawn"])
def test_killed_in_any_step_it_ends_the_same(refills: bool, prompts: list, sampling: Sampling, tmp_path: Path) -> None:
    due, every, tokens = _write(None, prompts, sampling)
    for share in (0.4, 0.8):
        state = tmp_path / f"{share}.state"
        deadly = int(share * every)
        with pytest.raises(Killed):
            _write(state, prompts, sampling, deadly)
        found, again, counted = _write(state, prompts, sampling)
        # Batches that had been finished are the caller's to keep: here they are written again.
        assert {**due, **found} == due
        assert len(found) == len(due)
        if refills:  # a single batch
            assert again <= every - deadly + 3
            assert counted == tokens


def test_a_state_of_another_batch_or_a_damaged_one_is_not_used(tmp_path: Path, refills: bool) -> None:
    state = tmp_path / "state"
    with pytest.raises(Killed):
        _write(state, SHARED, GREEDY, 8)
    due, *_ = _write(None, UNLIKE, GREEDY)
    assert _write(state, UNLIKE, GREEDY)[0] == due
    with pytest.raises(Killed):
        _write(state, UNLIKE, GREEDY, 4)
    state.write_bytes(state.read_bytes()[:-50])
    assert _write(state, UNLIKE, GREEDY)[0] == due


def test_other_answers_to_the_same_prompts_are_never_continued(tmp_path: Path, refills: bool) -> None:
    state, drawn = tmp_path / "state", Sampling(1.0)
    due, *_ = _write(None, SHARED, drawn)
    with pytest.raises(Killed):
        _write(state, SHARED, GREEDY, 8, manner="greedy")
    assert _write(state, SHARED, drawn, manner="drawn")[0] == due
    _write(state, SHARED, GREEDY)
    assert not state.exists()  # what is done leaves nothing to continue
    assert _write(state, SHARED, drawn)[0] == due
