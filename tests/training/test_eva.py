"""EVA against NumPy and against PEFT: directions, ranks, scale, and what a stage trains with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora.config import EvaConfig
from peft.tuners.lora.eva import get_eva_state_dict
from torch import Tensor

from layersig.data.batches import collate
from layersig.errors import UserError
from layersig.layers import Layer
from layersig.models.adapters.wrappers import expected_warnings, wrapped_layers
from layersig.models.layermap import layer_map
from layersig.recipe.schema import TrainSettings
from layersig.training import stages
from layersig.training.methods import Base, tuned
from layersig.training.methods.eva import _principal, shared_ranks
from tests.tiny import tiny_model
from tests.training.world import STREAMS, TRAIN, examples, job

RANK, BATCHES = 8, [tuple(range(8))]
ARCHITECTURES = ["llama", "gpt2", "qwen3"]


def settings(**own: object) -> TrainSettings:
    return TrainSettings.model_validate({"method": "eva", "rank": RANK, "alpha": 4.0, "dropout": 0.0, "eva": own})


def inputs_of(model: torch.nn.Module, layer: Layer) -> np.ndarray:
    """Inputs of a layer at all target tokens, from a pass of every example by itself."""
    rows: list[Tensor] = []
    handle = model.get_submodule(layer.name).register_forward_pre_hook(lambda _, given: rows.append(given[0][0]))
    found = []
    for example in examples():
        rows.clear()
        with torch.no_grad():
            model(torch.as_tensor(example.tokens[None].astype(np.int64)))
        found.append(rows[0][torch.as_tensor(example.targets.copy())].double().numpy())
    handle.remove()
    return np.concatenate(found)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_directions_are_the_singular_vectors_of_the_inputs_less_their_mean(architecture: str) -> None:
    model = tiny_model(architecture)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = list(layer_map(model))
    given = {"examples": examples(), "batches": BATCHES}
    starts = []
    for _ in range(2):
        with tuned(model, layers, settings(rho=1.0), base=Base("b"), steps=3, streams=STREAMS, **given):
            wrappers = wrapped_layers(model)
            assert wrappers.keys() == {layer.name for layer in layers}
            starts.append({name: each.lora_A["default"].weight.detach().clone() for name, each in wrappers.items()})
            assert {each.scaling["default"] for each in wrappers.values()} == {4.0 / RANK}
            assert all(not each.lora_B["default"].weight.any() for each in wrappers.values())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    for layer in layers:
        rows = inputs_of(model, layer)
        _, _, right = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
        right = right[:RANK] * np.sign(right[np.arange(RANK), np.abs(right[:RANK]).argmax(1)])[:, None]
        np.testing.assert_allclose(starts[0][layer.name].numpy(), right, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ranks_and_start_are_those_of_peft(architecture: str) -> None:
    model = tiny_model(architecture)
    # PEFT takes a randomized SVD of rank 2 rho r = 32, which is exact for layers with 32 inputs.
    layers = [layer for layer in layer_map(model) if layer.shape[-1] == 32]
    names = [layer.name for layer in layers]
    config = LoraConfig(r=RANK, lora_alpha=4, init_lora_weights="eva", target_modules=names, eva_config=EvaConfig())
    batch = collate(list(examples()))
    targets = torch.zeros_like(batch.tokens, dtype=torch.bool)
    for row, example in enumerate(examples()):
        targets[row, : len(example)] = torch.as_tensor(example.targets.copy())
    lengths = torch.tensor([[len(example)] for example in examples()])
    fed = {
        "input_ids": batch.tokens,
        "attention_mask": (torch.arange(batch.tokens.shape[1]) < lengths).long(),
        "labels": torch.where(targets, batch.tokens, -100),
    }
    with expected_warnings():
        theirs = get_eva_state_dict(tiny_model(architecture), [fed], config, show_progress_bar=False)
    given = {"examples": examples(), "batches": BATCHES}
    with tuned(model, layers, settings(), base=Base("b"), steps=3, streams=STREAMS, **given):
        ours = {name: each.lora_A["default"].weight.detach() for name, each in wrapped_layers(model).items()}
    ranks = {name: len(ours.get(name, ())) for name in names}
    assert sum(ranks.values()) == RANK * len(layers)
    assert max(ranks.values()) <= 2 * RANK
    assert len(set(ranks.values())) > 1
    assert ranks == {name: len(theirs[name]) for name in names}
    for name, a in ours.items():
        # PEFT decomposes in float32, where directions of nearly equal variance are known to fewer digits.
        torch.testing.assert_close(a, theirs[name].float(), atol=1e-4, rtol=1e-3)


def test_ranks_go_to_the_components_that_explain_most() -> None:
    shares = {"a": [0.9, 0.05], "b": [0.3, 0.2], "c": [0.04, 0.03]}
    assert shared_ranks(shares, 3) == {"a": 1, "b": 2, "c": 0}
    assert shared_ranks({"a": [0.5, 0.1], "b": [0.5, 0.1]}, 3) == {"a": 2, "b": 1}


def test_inputs_that_do_not_vary_have_no_share() -> None:
    still = _principal(torch.zeros(6, 6, dtype=torch.float64), 2)
    moving = _principal(torch.diag(torch.tensor([3.0, 1.0, -1e-18], dtype=torch.float64)), 2)
    assert still.shares == [0.0, 0.0]
    assert shared_ranks({"still": still.shares, "moving": moving.shares}, 2) == {"still": 0, "moving": 2}


def test_a_layer_without_a_rank_is_not_trained_and_plain_peft_reads_the_others(
    tmp_path: Path, inputs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = TRAIN.model_validate({**TRAIN.model_dump(), "method": "eva", "rank": 4, "eva": {"rho": 2.0}}, strict=False)
    monkeypatch.setattr(
        "layersig.training.methods.eva.shared_ranks", lambda shares, _: dict(zip(shares, (0, 8), strict=True))
    )
    run = job(tmp_path, inputs, train=train)
    stages.tune(run)
    with expected_warnings():
        reloaded = PeftModel.from_pretrained(tiny_model("llama"), run.out / "adapter")
    wrappers = wrapped_layers(reloaded.get_base_model())
    assert {name: each.r["default"] for name, each in wrappers.items()} == {"model.layers.2.self_attn.v_proj": 8}


def test_too_few_tokens_are_refused() -> None:
    model = tiny_model("llama")
    given = {"examples": examples(), "batches": [(0,), (1,)]}
    asked = settings(batches=1, rho=2.0)
    with (
        pytest.raises(UserError, match=r"16 components are asked for, and 1 optimizer batches have \d+ target tokens"),
        tuned(model, list(layer_map(model)), asked, base=Base("b"), steps=3, streams=STREAMS, **given),
    ):
        pass


@pytest.mark.parametrize("tied", [False, True])
def test_a_head_starts_in_the_directions_of_its_inputs(tied: bool) -> None:
    model = tiny_model("llama", tied=tied)
    layers = list(layer_map(model, head=True))
    given = {"examples": examples(), "batches": BATCHES}
    with tuned(model, layers, settings(rho=1.0), base=Base("b"), steps=3, streams=STREAMS, **given):
        start = wrapped_layers(model)["lm_head"].lora_A["default"].weight.detach().clone()
    rows = inputs_of(model, layers[-1])
    _, _, right = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    right = right[:RANK] * np.sign(right[np.arange(RANK), np.abs(right[:RANK]).argmax(1)])[:, None]
    np.testing.assert_allclose(start.numpy(), right, atol=1e-5)
