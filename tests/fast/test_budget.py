"""`micro_batch_tokens = "auto"`: what a token takes by shapes, against what autograd is seen to keep."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.data.pairs import Pairs
from layersig.distributed.world import World
from layersig.fast import budget, profile, runner
from layersig.fast.budget import (
    PROMPTS,
    agreed,
    cache_bytes,
    keeps_blocks,
    read_at_once,
    reserved_bytes,
    token_bytes,
    tokens_at_once,
    written_at_once,
)
from layersig.fast.runner import reading_runner, training_runner
from layersig.recipe.schema import TrainSettings
from layersig.stages.notes import noted
from layersig.stages.sizes import choose, chosen, halve, halved, kept_sizes
from layersig.training.methods import component_of
from tests.training.world import BATCHES, CPU, SETTINGS, STREAMS, Workload, adapted, examples, run, trained

SHAPES = {
    "llama": {"intermediate_size": 688, "num_attention_heads": 8, "num_key_value_heads": 8},
    "qwen3": {"intermediate_size": 768, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32},
    "gpt_neox": {"intermediate_size": 1024, "num_attention_heads": 8},
}


def model_of(architecture: str, dtype: torch.dtype = torch.bfloat16) -> torch.nn.Module:
    """A model of ordinary proportions, with LoRA factors on its blocks."""
    from layersig.models.adapters import inject_lora
    from layersig.models.layermap import layer_map

    config = AutoConfig.for_model(
        architecture, hidden_size=256, num_hidden_layers=3, vocab_size=512, **SHAPES[architecture]
    )
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False).to(dtype)
    return inject_lora(
        model, [layer for layer in layer_map(model) if layer.block], rank=4, alpha=8, dropout=0.0, streams=STREAMS
    )


def kept_bytes(model: torch.nn.Module) -> float:
    """Bytes that a forward pass keeps for the backward pass, for a token, weights left out."""
    own = {each.untyped_storage().data_ptr() for each in model.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    long = examples(4, longest=200)
    settings = SETTINGS.model_copy(update={"micro_batch_tokens": 4096})
    work = Workload(model, trained(model), long, [(0, 1, 2, 3)], settings, STREAMS)
    with training_runner(work) as runner, saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = runner.loss([0, 1, 2, 3], 1)
    del loss
    return sum(seen.values()) / int(long.lengths.sum())


@pytest.mark.parametrize("architecture", list(SHAPES))
def test_a_token_takes_what_autograd_keeps(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(architecture)
    monkeypatch.setattr(budget, "_MOVING", 0)
    assert kept_bytes(model) == pytest.approx(token_bytes(model.get_base_model(), learning=True) / 1.2, rel=0.2)


def test_adapters_and_weights_in_four_bits_have_the_shapes_of_what_they_stand_for() -> None:
    model = model_of("llama")
    assert token_bytes(model.get_base_model(), learning=True) == token_bytes(model.unload(), learning=True)
    bitsandbytes = pytest.importorskip("bitsandbytes")
    base = model.get_base_model()
    before = token_bytes(base, learning=True)
    up = base.model.layers[0].mlp.up_proj
    base.model.layers[0].mlp.up_proj = bitsandbytes.nn.Linear4bit(up.in_features, up.out_features, bias=False)
    assert token_bytes(base, learning=True) == before


def test_free_memory_sets_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    base = model_of("llama").get_base_model()
    monkeypatch.setattr(profile, "profile_of", lambda device: dataclasses.replace(profile.GPU, piece_targets=7))
    each = token_bytes(base, learning=True)

    def found(free: float, **options: object) -> int:
        monkeypatch.setattr(budget, "free_memory", lambda device: int(free))
        return tokens_at_once(base, "auto", **{"learning": True, **options})

    assert found(0) == 256
    assert found(10**15) == 2**17
    some = found(1.3 * 4096 * each)
    assert some == 4096
    assert found(1.35 * 4096 * each) == some  # small changes change nothing
    assert found(2.6 * 4096 * each) == 8192
    assert found(2.6 * 4096 * each, reserved=int(1.3 * 4096 * each)) == 4096
    assert found(1.3 * 4096 * each, checkpointing=True) >= 8192
    assert tokens_at_once(base, 77, learning=True) == 77


def test_batches_without_gradients_fill_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    base = model_of("qwen3").get_base_model()
    assert read_at_once(base, "auto") == written_at_once(base, "auto") == 8192  # on a CPU
    monkeypatch.setattr(profile, "profile_of", lambda device: dataclasses.replace(profile.GPU, piece_targets=7))

    def found(free: float, choose: object) -> int:
        monkeypatch.setattr(budget, "free_memory", lambda device: int(free))
        return choose(base, "auto")

    reading, held = token_bytes(base, learning=False), cache_bytes(base)
    assert held == 2 * 3 * 2 * 2 * 32  # bytes, blocks, keys and values, heads of theirs, size
    assert found(1.3 * 4096 * reading, read_at_once) == 4096
    assert (found(0, read_at_once), found(10**15, read_at_once)) == (256, 2**16)
    # Answers hold their cache, and the prompts that are begun together pass through the model beside it.
    room = PROMPTS * (reading + held) + 1.25 * held * 2**17
    assert found(1.3 * room, written_at_once) == 2**17
    assert found(1.2 * room, written_at_once) == 2**16
    small = 1024 * (1.25 * held + held + reading)
    assert found(1.3 * small, written_at_once) == 1024
    assert (found(0, written_at_once), found(10**15, written_at_once)) == (256, 2**18)
    assert read_at_once(base, 77) == written_at_once(base, 77) == 77


def test_what_was_chosen_holds_when_an_interrupted_stage_goes_on(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less memory is free then: the batches of the training are cut as before, to the last bit of the result."""
    monkeypatch.setattr(profile, "profile_of", lambda device: dataclasses.replace(profile.CPU, fixed_tokens=None))
    monkeypatch.setattr(budget, "LEAST_AUTO_TOKENS", 8)
    each = token_bytes(adapted().get_base_model(), learning=True)
    automatic = SETTINGS.model_copy(update={"micro_batch_tokens": "auto"})

    def training(free: float, work: object, *, until: int = 9) -> tuple[list[float], dict[str, torch.Tensor]]:
        def stop(number: int) -> None:
            if number > until:
                raise KeyboardInterrupt

        monkeypatch.setattr(budget, "free_memory", lambda device: int(free))
        model = adapted(dtype=torch.float32)
        with kept_sizes(work / "sizes.json"):
            try:
                log = run(model, automatic, batches=BATCHES * 3, checkpoint=work, extra_loss=stop)
            except KeyboardInterrupt:
                return [], {}
        return [step.loss for step in log.steps], {name: value.detach() for name, value in trained(model).items()}

    plenty, little = 300 * each + 10**6, 40 * each + 10**6
    whole, values = training(plenty, tmp_path / "whole")
    other, _ = training(little, tmp_path / "other")
    assert other != whole  # it is cut otherwise, and rounding shows
    training(plenty, tmp_path / "broken", until=4)
    again, resumed = training(little, tmp_path / "broken")
    assert again == whole
    assert all(torch.equal(value, values[name]) for name, value in resumed.items())


def test_sizes_are_kept_in_a_file_that_may_be_damaged(tmp_path) -> None:
    path = tmp_path / "work" / "sizes.json"
    with kept_sizes(path):
        assert (chosen("answers"), halved("answers")) == (None, None)
        choose("answers", 512)
        halve("answers", 64)
        halve("answers", 128)
    with kept_sizes(path) as sizes:
        assert (sizes.chosen, sizes.halved) == ({"answers": 512}, {"answers": 64})
    path.write_text(path.read_text()[:-3])
    with kept_sizes(path) as sizes:
        assert (sizes.chosen, sizes.halved) == ({}, {})
    assert chosen("answers") is None  # outside of a stage nothing is kept


def test_processes_agree_on_the_smallest_number_and_keep_it() -> None:
    class Two(World):
        def gather(self, value):
            return [value, 300]

    with kept_sizes() as sizes:
        assert agreed("examples", lambda: 512, Two()) == 300
        assert agreed("examples", lambda: 100, Two()) == 300
    assert sizes.chosen == {"examples": 300}


def test_on_a_cpu_auto_is_a_fixed_number() -> None:
    logs = [run(adapted(), SETTINGS.model_copy(update={"micro_batch_tokens": asked})) for asked in ("auto", 4096)]
    assert [step.loss for step in logs[0].steps] == [step.loss for step in logs[1].steps]
    with reading_runner(adapted().get_base_model(), examples(), "auto") as automatic:
        assert automatic.losses(BATCHES)


def test_auto_is_no_part_of_what_a_training_is_known_by() -> None:
    method = component_of("lora", ())
    assert "micro_batch_tokens" not in TrainSettings().effective(method)
    assert TrainSettings(micro_batch_tokens=512).effective(method)["micro_batch_tokens"] == 512
    read = TrainSettings.model_validate_json(json.dumps(TrainSettings().effective(method)))
    assert read.micro_batch_tokens == "auto"


def test_blocks_are_recomputed_where_the_longest_example_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits, and the log says so."""
    monkeypatch.setattr("layersig.stages.notes._taken", set())
    found = []
    for free in (10**12, 10**4):
        monkeypatch.setattr(budget, "free_memory", lambda device, free=free: free)
        model = adapted("llama", dtype=torch.float32, dropout=0.3)
        with noted() as notes:
            log = run(model)
        found.append(({name: value.detach() for name, value in trained(model).items()}, log, notes))
    (kept, own, silent), (again, log, told) = found
    assert [step.loss for step in log.steps] == [step.loss for step in own.steps]
    assert all(torch.equal(value, kept[name]) for name, value in again.items())
    assert (log.numerics, silent) == (f"{own.numerics}+recomputed-blocks", [])
    assert [note.partition(":")[0] for note in told] == ["train.gradient_checkpointing is on"]


def test_room_for_the_longest_example_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    base = model_of("llama").get_base_model()
    each, logits = token_bytes(base, learning=True), 256 * 512 * (4 + 2 * 2)
    for free, reserved, keeps in ((1000, 0, True), (999, 0, False), (1001, 1, True), (1000, 1, False)):
        room = int(1.25 * (free * each + logits)) + 2
        monkeypatch.setattr(budget, "free_memory", lambda device, room=room: room)
        assert keeps_blocks(base, 1000, reserved=int(1.25 * reserved * each)) is keeps


def test_the_two_rows_of_a_pair_must_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As each of them alone would: no cut of a batch divides a pair."""
    sides = examples(), examples(longest=25)
    pairs = Pairs(*sides, None, lambda scored: -(scored.chosen - scored.rejected))
    asked: list[int] = []
    monkeypatch.setattr(runner, "keeps_blocks", lambda model, largest, **_: bool(asked.append(largest)) or True)
    model = adapted("llama")
    with training_runner(Workload(model, trained(model), pairs, [(0, 1)], SETTINGS, STREAMS)):
        assert asked == [2 * max(side.longest for side in sides)]


@pytest.mark.parametrize(("optimizer", "copies"), [("adamw", 2), ("adamw-bf16", 1), ("paged-adamw-8bit", 0)])
def test_moments_take_what_their_optimizer_holds_on_the_device(
    optimizer: str, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where micro-batches run one after the other, there is one set of gradients."""
    assert reserved_bytes(1000, optimizer, CPU) == 1000 * (2 + copies)
    monkeypatch.setattr(profile, "profile_of", lambda device: profile.GPU)
    assert reserved_bytes(1000, optimizer, CPU) == 1000 * (1 + copies)
