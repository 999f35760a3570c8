"""GoRA against NumPy and plain autograd: importance, ranks, start, and that the start lowers the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from layersig.layers import Layer, Part
from layersig.models.adapters.wrappers import expected_warnings, wrapped_layers
from layersig.models.layermap import layer_map
from layersig.recipe.schema import TrainSettings
from layersig.training import stages
from layersig.training.methods import Base, tuned
from layersig.training.methods.gora import allotted_ranks
from tests.tiny import tiny_model
from tests.training.world import CHOSEN, STREAMS, TRAIN, examples, job

RANK, STEP = 4, 0.01
BATCHES = [(0, 1, 2), (3, 4), (5, 6, 7)]


def settings(**own: object) -> TrainSettings:
    given = {"batches": 2, "step": STEP, **own}
    return TrainSettings.model_validate({"method": "gora", "rank": RANK, "alpha": 6.0, "dropout": 0.0, "gora": given})


def loss(model: PreTrainedModel, batch: tuple[int, ...]) -> torch.Tensor:
    """Mean cross entropy over the target tokens of a batch."""
    found, count = [], 0
    for index in batch:
        example = examples()[index]
        tokens = torch.as_tensor(example.tokens.astype(np.int64))
        targets = torch.as_tensor(example.targets.copy())[1:]
        logits = model(tokens[None]).logits[0, :-1][targets]
        found.append(cross_entropy(logits, tokens[1:][targets], reduction="sum"))
        count += int(targets.sum())
    return sum(found) / count


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_ranks_and_start_are_those_of_autograd_and_numpy(architecture: str) -> None:
    model, twin = tiny_model(architecture), tiny_model(architecture)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = list(layer_map(model))
    weights = {layer.name: twin.get_submodule(layer.name).weight.requires_grad_(True) for layer in layers}
    both = sum(loss(twin, batch) for batch in BATCHES[:2]) / 2
    gradients = dict(zip(weights, torch.autograd.grad(both, list(weights.values())), strict=True))
    importance = {name: np.abs(weights[name].detach().numpy() * gradients[name].numpy()).mean() for name in weights}
    roots = {layer.name: math.sqrt(sum(layer.shape)) for layer in layers}
    budget, total = RANK * sum(roots.values()), sum(importance.values())
    expected = {
        name: int(np.clip(np.floor(np.round(budget * importance[name] / total) / roots[name]), 2, 16))
        for name in weights
    }
    assert len(set(expected.values())) > 2
    given = {"examples": examples(), "batches": BATCHES}
    starts = []
    for _ in range(2):
        with tuned(model, layers, settings(), base=Base("b"), steps=3, streams=STREAMS, **given) as tuning:
            wrappers = wrapped_layers(model)
            assert {name: each.r["default"] for name, each in wrappers.items()} == expected
            starts.append({name: value.detach().clone() for name, value in tuning.parameters.items()})
            for name, each in wrappers.items():
                a, b = (factors["default"].weight.detach().double().numpy() for factors in (each.lora_A, each.lora_B))
                gradient = gradients[name].double().numpy()
                gradient = gradient.T if architecture == "gpt2" else gradient
                change = each.scaling["default"] * b @ a
                onto = np.linalg.pinv(a) @ a  # projector on the rows of A
                step = -STEP * math.sqrt(a.shape[1] / a.shape[0]) * gradient @ onto
                np.testing.assert_allclose(change, step, atol=1e-5 * np.abs(step).max())
            with torch.no_grad():
                assert loss(model, BATCHES[0]) < loss(twin, BATCHES[0])
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


def layer(name: str, out: int, inner: int) -> Layer:
    return Layer(name, 0, name, Part.MLP, out * inner, (out, inner))


def test_ranks_are_clipped_without_a_budget_and_equal_layers_have_the_rank() -> None:
    four = [layer(name, 32, 32) for name in "abcd"]
    assert allotted_ranks(dict.fromkeys("abcd", 2.0), four, 8, (4, 32)) == dict.fromkeys("abcd", 8)
    most = {"a": 97.0, "b": 1.0, "c": 1.0, "d": 1.0}
    assert allotted_ranks(most, four, 8, (4, 16)) == {"a": 16, "b": 4, "c": 4, "d": 4}
    # Twice the root of in + out halves the rank that a share pays for.
    uneven = [layer("a", 32, 32), layer("b", 128, 128)]
    ranks = allotted_ranks({"a": 1.0, "b": 1.0}, uneven, 8, (1, 32))
    assert ranks == {"a": 12, "b": 6}


def test_a_stage_trains_it_and_plain_peft_reads_it(tmp_path: Path, inputs: Mapping[str, Path]) -> None:
    own = {"method": "gora", "rank": 4, "gora": {"batches": 2}}
    train = TrainSettings.model_validate({**TRAIN.model_dump(), **own}, strict=False)
    run = job(tmp_path, inputs, train=train)
    stages.tune(run)
    with expected_warnings():
        reloaded = PeftModel.from_pretrained(tiny_model("llama"), run.out / "adapter")
    assert wrapped_layers(reloaded.get_base_model()).keys() == set(CHOSEN)


def test_a_head_that_is_tied_is_looked_at_by_itself() -> None:
    found = []
    for tied in (True, False):
        model = tiny_model("llama", tied=tied)
        if not tied:
            with torch.no_grad():
                model.lm_head.weight.copy_(model.get_input_embeddings().weight)
        layers, given = list(layer_map(model, head=True)), {"examples": examples(), "batches": BATCHES}
        with tuned(model, layers, settings(), base=Base("b"), steps=3, streams=STREAMS, **given):
            wrappers = wrapped_layers(model)
            found.append({name: each.lora_B["default"].weight.detach().clone() for name, each in wrappers.items()})
    tied_ones, apart = found
    assert {name: len(b.T) for name, b in tied_ones.items()} == {name: len(b.T) for name, b in apart.items()}
    torch.testing.assert_close(tied_ones, apart)
