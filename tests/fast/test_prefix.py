"""Training with the frozen lower blocks run once an example, against training that runs them every time."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from layersig.fast import runner
from layersig.fast.numerics import KEPT_PREFIX
from layersig.models.layermap import block_list, layer_map
from layersig.stages import interval
from tests.tiny import ARCHITECTURES, tiny_model
from tests.training.test_checkpoint import Killed
from tests.training.world import SETTINGS, adapted, run, trained, values

# The last batch but one mixes examples that came up before with a new one; the last repeats the first.
EPOCHS = [(0, 1, 2, 3), (4, 5, 1, 0), (1, 3, 2, 7), (5, 4, 3, 2), (7, 0, 1, 6), (0, 1, 2, 3)]


def in_last_block(architecture, **options):
    layers = layer_map(tiny_model(architecture))
    depth = max(layer.block for layer in layers)
    return adapted(architecture, layers=[layer.name for layer in layers if layer.block == depth], **options)


def without_prefix(monkeypatch):
    monkeypatch.setattr(runner, "kept_prefix", lambda *_: nullcontext(None))


def work_of_first_block(model):
    """Tokens that go through a linear layer of the first block, pass by pass."""
    counted = []
    layer = next(module for module in block_list(model)[1][0].modules() if isinstance(module, torch.nn.Linear))
    layer.register_forward_hook(lambda _, inputs, __: counted.append(inputs[0].shape[-2]))
    return counted


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_training_is_the_same_to_rounding(architecture, monkeypatch):
    fast = in_last_block(architecture)
    log = run(fast, batches=EPOCHS)
    without_prefix(monkeypatch)
    plain = in_last_block(architecture)
    other = run(plain, batches=EPOCHS)
    assert KEPT_PREFIX in log.numerics
    assert KEPT_PREFIX not in other.numerics
    assert [step.loss for step in log.steps] == pytest.approx([step.loss for step in other.steps], rel=1e-6)
    found = trained(fast)
    for name, value in trained(plain).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_an_example_goes_through_frozen_blocks_once():
    model = in_last_block("llama")
    passes = work_of_first_block(model.get_base_model())
    run(model, SETTINGS.model_copy(update={"micro_batch_tokens": 4096}), batches=EPOCHS)
    # Three passes try out packing and two the prefix; then come the four batches of six that bring something new.
    assert len(passes) == 3 + 2 + 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_killed_and_resumed_is_bit_for_bit_unbroken(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(interval, "SECONDS", 0.0)
    monkeypatch.setattr(interval, "SHARE", float("inf"))
    options = {"batches": EPOCHS * 2}

    def model():
        return in_last_block("llama", dtype=dtype, dropout=0.2, factors=torch.promote_types(dtype, torch.float32))

    unbroken = model()
    log = run(unbroken, **options)
    assert KEPT_PREFIX in log.numerics

    def kill(step):
        if step.step == 7:
            raise Killed

    with pytest.raises(Killed):
        run(model(), checkpoint=tmp_path, after_step=kill, **options)
    resumed = model()
    other = run(resumed, checkpoint=tmp_path, **options)
    assert [step.loss for step in other.steps] == [step.loss for step in log.steps]
    for name, value in values(trained(unbroken)).items():
        assert torch.equal(trained(resumed)[name], value)


def test_not_used_where_the_first_block_is_trained_or_nothing_comes_up_twice():
    assert KEPT_PREFIX not in run(adapted(), batches=EPOCHS).numerics
    assert KEPT_PREFIX not in run(in_last_block("llama"), batches=EPOCHS[:1]).numerics


def test_the_model_is_left_as_it_was():
    model = in_last_block("llama")
    run(model, batches=EPOCHS)
    assert not any("forward" in module.__dict__ for module in model.modules())
