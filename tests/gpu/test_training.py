"""Losses, gradients, masks and trainings on a GPU, against the plain twins and against a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from layersig.data.examples import Examples
from layersig.fast import varlen
from layersig.fast.counted import LEVELS, masked, row_keys
from layersig.fast.runner import Workload, training_runner
from layersig.models.determinism import deterministic
from layersig.models.devices import free
from layersig.models.layermap import layer_map
from layersig.recipe.schema import AdaLoraSettings
from layersig.streams import Streams
from layersig.training.loop import train
from layersig.training.methods import Base, tuned
from layersig.training.optimization import Optimization
from tests.benchmarks.training import logged, settings
from tests.benchmarks.world import copies
from tests.fast.as_gpu import plain_varlen
from tests.fast.twins import KINDS, Kind
from tests.gpu.shapes import Setting, adapted
from tests.tiny import tiny_model
from tests.training import world
from tests.training.test_checkpoint import assert_a_kill_changes_nothing

pytestmark = pytest.mark.cuda


def assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> None:
    assert found
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        own = found[name].detach().cpu().double()
        other = value.detach().cpu().double()
        assert (own - other).norm() <= tolerance * max(other.norm().item(), 1e-3), name


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("kind", KINDS)
def test_twins_agree(kind: Kind, architecture: str, moved: torch.device) -> None:
    plain_loss, plain = kind(architecture, torch.float32, 75, False, False)
    for again in (False, True):
        loss, found = kind(architecture, torch.float32, 75, True, again)
        assert loss == pytest.approx(plain_loss, rel=1e-5)
        assert_alike(found, plain, 1e-4)


def test_micro_batches_change_nothing(moved: torch.device) -> None:
    plain_loss, plain = KINDS[0]("llama", torch.float32, 4096, True, False)
    for budget in (30, 75):
        loss, found = KINDS[0]("llama", torch.float32, budget, True, False)
        assert loss == pytest.approx(plain_loss, rel=1e-5)
        assert_alike(found, plain, 1e-4)


@pytest.mark.card
@pytest.mark.parametrize("window", [None, 41])
@pytest.mark.parametrize("heads", [(8, 8), (8, 2)])
def test_packed_attention_is_causal_within_its_window(
    window: int | None, heads: tuple[int, int], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not varlen.runs(device, torch.bfloat16):
        pytest.skip("this torch has no variable-length attention with windows; examples are padded")
    generator = torch.Generator(device).manual_seed(0)
    bounds = (0, 100, 107, 171, 172, 205)
    query, key, value = (
        torch.randn(1, count, bounds[-1], 64, generator=generator, device=device).bfloat16().requires_grad_()
        for count in (heads[0], heads[1], heads[1])
    )
    packed = {"example_bounds": bounds, "example_starts": torch.tensor(bounds, dtype=torch.int32, device=device)}
    results = []
    for kernel in (varlen.varlen_attn, plain_varlen):
        monkeypatch.setattr(varlen, "varlen_attn", kernel)
        output, _ = varlen.attention(nn.Module(), query, key, value, None, sliding_window=window, **packed)
        gradients = torch.autograd.grad(output.float().square().sum(), (query, key, value))
        results.append(dict(zip("oqkv", (output, *gradients), strict=True)))
    assert_alike(results[0], results[1], 2e-2)


def test_masks_are_those_of_any_other_device(device: torch.device) -> None:
    rows, module = torch.arange(1000) * 7_919_123_456_789, torch.tensor(42)
    ones = torch.ones(1000, 512)
    here = masked(ones.to(device), row_keys(rows.to(device), module.to(device)), LEVELS // 10).cpu()
    assert torch.equal(here, masked(ones, row_keys(rows, module), LEVELS // 10))
    assert here.mean().item() == pytest.approx(0.9, abs=0.002)


def test_a_training_is_that_of_a_cpu(moved: torch.device) -> None:
    found = []
    for device in (moved, torch.device("cpu")):
        model = world.adapted("llama", dtype=torch.float32).to(device)
        world.run(model, batches=world.BATCHES * 2)
        found.append(world.values(world.trained(model)))
    assert_alike(found[0], found[1], 1e-3)


@pytest.mark.parametrize("again", [False, True])
def test_a_second_training_gives_the_same_bits(again: bool, setting: Setting) -> None:
    size = setting.few(8, 3)
    conversations = setting.conversations(3 * size)
    batches = [range(start, start + size) for start in range(0, 3 * size, size)]
    model = adapted(setting.model("1B"), dropout=0.1)
    fresh, found = copies(model), []
    for _ in range(2):
        settings = {"gradient_checkpointing": again, "micro_batch_tokens": setting.few(2048, 64)}
        log = logged(fresh(), conversations, batches, 0.1, **settings)
        found.append(([step.loss for step in log.steps], world.values(world.trained(model))))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())


def test_killed_and_continued_gives_the_same_bits(
    moved: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_a_kill_changes_nothing(tmp_path, torch.bfloat16, "adamw", monkeypatch)


def test_bfloat16_gradients_are_no_further_from_float32_than_those_of_peft(setting: Setting) -> None:
    examples = Examples.of(setting.conversations(setting.few(8, 3)))
    batch = range(len(examples))

    def gradients(dtype: torch.dtype, fast: bool) -> dict[str, torch.Tensor]:
        model = adapted(setting.model("1B", dtype))
        rule = settings(0.0, micro_batch_tokens=2048, gradient_checkpointing=True)
        work = Workload(model, world.trained(model), examples, [batch], rule, Streams(0), fast=fast)
        with training_runner(work) as runner:
            runner.loss_and_gradients(batch, 1)
        found = {name: value.grad.cpu() for name, value in world.trained(model).items()}
        free(setting.device)
        return found

    def distance(found: dict[str, torch.Tensor]) -> float:
        return sum((value - exact[name]).square().sum().item() for name, value in found.items()) ** 0.5

    exact = gradients(torch.float32, True)
    assert distance(gradients(torch.bfloat16, True)) < 1.3 * distance(gradients(torch.bfloat16, False))


def test_deterministic_mode_is_left_again(device: torch.device) -> None:
    with deterministic(device):
        assert torch.are_deterministic_algorithms_enabled() is (device.type == "cuda")
    assert not torch.are_deterministic_algorithms_enabled()


def test_adalora_gives_its_ranks_up(device: torch.device) -> None:
    model = tiny_model("llama").to(device)
    layers = [layer for layer in layer_map(model) if layer.block is not None]
    ranks = AdaLoraSettings(init_r=4, target_r=2)
    settings = world.SETTINGS.model_copy(update={"method": "adalora", "adalora": ranks})
    batches = world.BATCHES * 10
    with tuned(model, layers, settings, base=Base("tiny"), steps=len(batches), streams=world.STREAMS) as tuning:
        work = Workload(tuning.model, tuning.parameters, world.examples(), batches, settings, world.STREAMS)
        train(work, Optimization.of(settings), [tuning])
        kept = sum(int((value != 0).sum()) for name, value in tuning.parameters.items() if "lora_E" in name)
    assert kept == 2 * len(layers)
