"""What is counted on the meta device against real tensors on the CPU, and against arithmetic for 7B."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from layersig.fast import batching
from layersig.fast.runner import Workload, training_runner
from layersig.layers import Part
from layersig.models.adapters import inject_lora, remove_adapter
from layersig.models.dense import trained_weights
from layersig.models.layermap import layer_map
from layersig.models.live_bytes import LiveBytes
from layersig.recipe.schema import TrainSettings
from layersig.training.counted import count_training
from tests.shapes import LLAMA_2_7B, on_meta, rows_of
from tests.tiny import tiny_model
from tests.training.world import STREAMS

GIB = 2**30
LENGTH = 48


def _settings(**more) -> TrainSettings:
    return TrainSettings(**{"rank": 4, "dropout": 0.0, "batch_size": 4, "micro_batch_tokens": 4 * LENGTH, **more})


def _measured(architecture: str, settings: TrainSettings, *, whole: bool) -> int:
    """Peak of the real tensors of a step of two micro-batches on the CPU, padded as on a GPU."""
    model = tiny_model(architecture).requires_grad_(False)
    layers, examples = list(layer_map(model)), rows_of(8, LENGTH)
    with ExitStack() as stack:
        live = stack.enter_context(LiveBytes(model.parameters()))
        if whole:
            parameters = dict(stack.enter_context(trained_weights(model, layers)))
            tuned = model
        else:
            tuned = inject_lora(model, layers, rank=settings.rank, alpha=8, dropout=0.0, streams=STREAMS)
            stack.callback(remove_adapter, tuned)
            parameters = {name: each for name, each in tuned.named_parameters() if each.requires_grad}
        work = Workload(tuned, parameters, examples, [range(8)], settings, STREAMS)
        runner = stack.enter_context(training_runner(work))
        assert runner.in_pieces(range(8), len) == 2
        runner.loss_and_gradients(range(8), 1)
        return live.peak


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral", "gpt2"])
def test_the_count_is_the_peak_of_real_tensors(architecture, whole, checkpointing, monkeypatch):
    monkeypatch.setattr(batching.packing, "why_padded", lambda model, longest: "asked")
    settings = _settings(gradient_checkpointing=checkpointing)
    model = tiny_model(architecture).to("meta").requires_grad_(False)
    model.tie_weights()
    counted = count_training(model, list(layer_map(model)), settings, whole=whole, length=LENGTH)
    measured = _measured(architecture, settings, whole=whole)
    assert counted.weights + counted.trained + counted.passing == pytest.approx(measured, rel=0.2)
    assert counted.weights == sum(each.nbytes for each in tiny_model(architecture).parameters())
    assert not any(each.requires_grad for each in model.parameters())
    assert type(model) is type(tiny_model(architecture))


@pytest.mark.slow
def test_7b_takes_what_arithmetic_says():
    model = on_meta(LLAMA_2_7B)
    layers = list(layer_map(model, head=True))
    settings = TrainSettings(rank=32, batch_size=32, micro_batch_tokens=16_384, gradient_checkpointing=True)
    counted = count_training(model, layers, settings, whole=False, length=2048)
    factors = 32 * sum(sum(layer.shape) for layer in layers)
    assert (counted.weights, counted.trained) == (2 * 6_738_415_616, 4 * factors)
    inputs, block = 16_384 * 4096 * 2 * 32, 16_384 * 250_000
    assert inputs + 4 * factors < counted.passing < inputs + 4 * factors + block + GIB
    assert len(layers) == 225
    assert layers[-1].part is Part.HEAD


@pytest.mark.slow
def test_a_second_micro_batch_takes_no_second_set_of_gradients():
    model = on_meta(LLAMA_2_7B)
    layers = list(layer_map(model, head=True))
    weights = sum(layer.parameters for layer in layers)
    settings = TrainSettings(batch_size=32, micro_batch_tokens=2048, gradient_checkpointing=True)
    counted = count_training(model, layers, settings, whole=True, length=2048)
    assert counted.trained == 4 * weights
    inside = 2048 * (4096 * 2 * 32 + 350_000)
    largest = 3 * 4 * 32_000 * 4096  # of one layer: in the type of the model, in float32, and added
    assert 4 * weights < counted.passing < 4 * weights + inside + largest + 2048 * 32_000 * 10
