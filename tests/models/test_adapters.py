from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from layersig.errors import StageFailed, UserError
from layersig.models.adapters import (
    adapter_layers,
    assert_moved,
    attach_adapter,
    dropouts,
    graft,
    inject_adalora,
    inject_lora,
    read_adapter,
    remove_adapter,
    save_adapter,
)
from layersig.models.adapters.wrappers import expected_warnings, wrapped_layers
from layersig.models.layermap import layer_map
from layersig.recipe.schema import AdaLoraSettings
from tests.models.helpers import STREAMS, adapter_folder, assert_same_state, move, state, structure
from tests.tiny import ARCHITECTURES, MIXTURES, tiny_batch, tiny_model

EVERY = sorted({*ARCHITECTURES, *MIXTURES})


def _factors(peft_model: PeftModel) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in peft_model.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", EVERY)
def test_plain_peft_reloads_what_is_saved(architecture: str, tied: bool, tmp_path: Path) -> None:
    model = tiny_model(architecture, tied=tied)
    layers = layer_map(model, head=True)
    base, before, shape = model(tiny_batch()).logits, state(model), structure(model)
    expected = adapter_folder(model, layers, tmp_path)
    assert_same_state(before, model)
    assert structure(model) == shape
    assert (expected - base).abs().max() > 0.1

    with expected_warnings():
        reloaded = PeftModel.from_pretrained(tiny_model(architecture, tied=tied), tmp_path)
    difference = (reloaded(tiny_batch()).logits - expected).abs().max()
    assert difference <= 1e-5 * expected.abs().max()

    with attach_adapter(model, tmp_path) as attached:
        assert (attached(tiny_batch()).logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert_same_state(before, model)
    assert structure(model) == shape
    assert not hasattr(model, "peft_config")
    assert torch.equal(model(tiny_batch()).logits, base)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_moe", "qwen2_moe", "gpt_oss"])
def test_a_graft_equals_zeroing_the_other_layers(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model, head=True)
    adapter_folder(model, layers, tmp_path / "all")
    # Every second layer, and of fused experts the one that PEFT nests innermost, whose keys must be renamed.
    keep = [layer for index, layer in enumerate(layers) if index % 2 or layer.name.endswith("experts.gate_up_proj")]
    keep = [layer for layer in keep if not layer.name.endswith("experts.down_proj")]
    graft(tmp_path / "all", layers, keep, tmp_path / "some")

    everything, some = read_adapter(tmp_path / "all", layers), read_adapter(tmp_path / "some", layers)
    assert some.layers == tuple(layer.name for layer in keep)
    for name in some.layers:
        assert torch.equal(some.delta(name).dense(), everything.delta(name).dense())

    with expected_warnings():
        grafted = PeftModel.from_pretrained(tiny_model(architecture), tmp_path / "some")(tiny_batch()).logits
        zeroed = PeftModel.from_pretrained(tiny_model(architecture), tmp_path / "all")
    for name, wrapper in wrapped_layers(zeroed.get_base_model()).items():
        if name not in some.layers:
            wrapper.lora_B["default"].weight.data.zero_()
    torch.testing.assert_close(grafted, zeroed(tiny_batch()).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["llama", "qwen2_moe"])
def test_a_graft_keeps_ranks_and_scales(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model)
    # The first and last kind of a block; in qwen2_moe the last is a linear module that PEFT targets as a parameter.
    ends = [layer for layer in layers if layer.block == 0][:: len(layers) // 3 - 1]
    peft_model = inject_lora(
        model, layers, rank=4, alpha=8, dropout=0.0, streams=STREAMS, ranks={layer.name: 2 for layer in ends}
    )
    move(peft_model)
    save_adapter(peft_model, tmp_path / "all", base_model="b", revision=None)
    config = json.loads((tmp_path / "all/adapter_config.json").read_text())
    config["alpha_pattern"] = {"q_proj": 5}
    (tmp_path / "all/adapter_config.json").write_text(json.dumps(config))
    graft(tmp_path / "all", layers, [*ends, layers[1]], tmp_path / "some")
    update = read_adapter(tmp_path / "some", layers)
    scales = {ends[0].name: 5 / 2, layers[1].name: 8 / 4, ends[1].name: 8 / 2}
    assert {name: update.delta(name).scale for name in update.layers} == scales
    with attach_adapter(remove_adapter(peft_model), tmp_path / "some"):
        wrappers = wrapped_layers(model)
        assert {name: wrapper.scaling["default"] for name, wrapper in wrappers.items()} == scales


def test_a_graft_of_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    model = tiny_model("llama")
    layers = layer_map(model)
    adapter_folder(model, layers[:3], tmp_path / "some")
    with pytest.raises(UserError, match=layers[5].name):
        graft(tmp_path / "some", layers, [layers[5]], tmp_path / "out")
    with pytest.raises(UserError, match="no layer at all"):
        graft(tmp_path / "some", layers, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe"])
def test_a_layer_starts_the_same_in_every_selection(architecture: str) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model)

    def start(chosen: list[int]) -> dict[str, torch.Tensor]:
        selected = [layers[index] for index in chosen]
        peft_model = inject_lora(model, selected, rank=2, alpha=2, dropout=0.0, streams=STREAMS)
        starts = {
            name: wrapper.lora_A["default"].weight.detach().clone() for name, wrapper in wrapped_layers(model).items()
        }
        remove_adapter(peft_model)
        return starts

    everything = start(list(range(len(layers))))
    for chosen in ([0], [5, 0], list(range(1, len(layers), 2))):
        for name, a in start(chosen).items():
            assert torch.equal(a, everything[name])
    first, second = (everything[layers[index].name] for index in (0, 3))
    assert not torch.equal(first, second)
    # PEFT's default: uniform within 1 / sqrt(in).
    bound = 1 / math.sqrt(32)
    assert 0.9 * bound < float(first.abs().max()) <= bound
    assert float(first.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_factors_are_float32_and_alone_trainable() -> None:
    model = tiny_model("qwen3_moe", dtype=torch.bfloat16)
    layers = layer_map(model)
    torch.manual_seed(3)
    global_state = torch.get_rng_state()
    peft_model = inject_lora(model, layers, rank=2, alpha=4, dropout=0.0, streams=STREAMS)
    assert torch.equal(torch.get_rng_state(), global_state)
    factors = _factors(peft_model)
    assert len(factors) == 2 * len(layers)
    assert {factor.dtype for factor in factors.values()} == {torch.float32}
    assert all(bool(factor.any()) == ("lora_A" in name) for name, factor in factors.items())
    assert adapter_layers(peft_model) == set(layers.names)
    assert peft_model(tiny_batch()).logits.dtype == torch.bfloat16


def test_dropout_goes_to_linear_layers_and_not_to_experts(tmp_path: Path) -> None:
    model = tiny_model("qwen3_moe")
    layers = layer_map(model)
    peft_model = inject_lora(model, layers, rank=2, alpha=4, dropout=0.25, streams=STREAMS)
    assert dropouts(peft_model) == {layer.name: 0.0 if layer.is_parameter else 0.25 for layer in layers}
    move(peft_model)
    peft_model.train()
    assert not torch.equal(peft_model(tiny_batch()).logits, peft_model(tiny_batch()).logits)
    save_adapter(peft_model, tmp_path, base_model="b", revision=None)
    with attach_adapter(remove_adapter(peft_model), tmp_path):
        pass

    dense = tiny_model("llama")
    peft_model = inject_lora(dense, layer_map(dense), rank=2, alpha=4, dropout=0.25, streams=STREAMS)
    assert set(dropouts(peft_model).values()) == {0.25}
    assert peft_model.peft_config["default"].lora_dropout == 0.25


def test_many_layers_are_saved_by_full_name(tmp_path: Path) -> None:
    model = tiny_model("llama")
    layers = layer_map(model)
    chosen = [layer for layer in layers if layer.name != "model.layers.1.mlp.up_proj"]
    assert len(chosen) == 20  # from 20 on, PEFT shortens the list to suffixes
    adapter_folder(model, chosen, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(layer.name for layer in chosen)
    assert (config["base_model_name_or_path"], config["revision"]) == ("some/base", "abc")
    assert "base_model: some/base" in (tmp_path / "README.md").read_text()
    assert {file.name for file in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    }


@pytest.mark.parametrize("architecture", ["gemma2", "qwen3_moe"])
def test_saving_twice_gives_the_same_bytes(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model, head=True)
    first, second = tmp_path / "first", tmp_path / "second"
    adapter_folder(model, layers, first)
    second.mkdir()
    (second / "stale").write_text("gone after")
    adapter_folder(model, layers[::-1], second)
    assert sorted(file.name for file in first.iterdir()) == sorted(file.name for file in second.iterdir())
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first", "second"]


def test_a_tied_head_is_saved_without_the_embedding(tmp_path: Path) -> None:
    model = tiny_model("gemma2")
    adapter_folder(model, [layer_map(model, head=True)[-1]], tmp_path)
    assert sorted(load_file(tmp_path / "adapter_model.safetensors")) == [
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.lm_head.lora_B.weight",
    ]


def test_a_layer_that_did_not_move_is_named() -> None:
    model = tiny_model("qwen3_moe")
    layers = layer_map(model)
    peft_model = inject_lora(model, layers, rank=2, alpha=4, dropout=0.0, streams=STREAMS)
    with pytest.raises(StageFailed, match=r"without a finite, non-zero update: .*k_proj"):
        assert_moved(peft_model, layers)
    move(peft_model)
    assert_moved(peft_model, layers)
    with pytest.raises(StageFailed, match=rf"not selected \['{layers[-1].name}'\]"):
        assert_moved(peft_model, layers[:-1])
    a = peft_model.base_model.model.model.layers[1].self_attn.k_proj.lora_A["default"].weight
    a.data[0, 0] = math.nan
    with pytest.raises(StageFailed, match=r"non-zero update: model\.layers\.1\.self_attn\.k_proj$"):
        assert_moved(peft_model, layers)


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe"])
def test_training_moves_the_selected_layers_and_nothing_else(architecture: str) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model, head=True)[3:]
    before = state(model)
    peft_model = inject_lora(model, layers, rank=2, alpha=4, dropout=0.1, streams=STREAMS)
    peft_model.train()
    optimizer = torch.optim.AdamW([p for p in peft_model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(3):
        batch = tiny_batch(rows=4, seed=step)
        peft_model(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert_moved(peft_model, layers)
    peft_model.base_model.model.model.norm.weight.data += 1
    with pytest.raises(StageFailed, match=r"frozen parameters have changed: .*model\.norm\.weight"):
        assert_moved(peft_model, layers)
    peft_model.base_model.model.model.norm.weight.data -= 1
    peft_model.base_model.model.model.norm.weight.requires_grad_(True)
    with pytest.raises(StageFailed, match=r"outside the adapters are trainable: .*model\.norm\.weight"):
        assert_moved(peft_model, layers)
    del before["model.norm.weight"]  # one was added and taken away again, with rounding
    clean = state(remove_adapter(peft_model))
    assert all(torch.equal(before[name], clean[name]) for name in before)


def test_no_layer_and_a_layer_of_another_model_are_refused() -> None:
    model = tiny_model("llama")
    with pytest.raises(UserError, match="nothing to adapt"):
        inject_lora(model, [], rank=2, alpha=2, dropout=0.0, streams=STREAMS)
    strange = layer_map(tiny_model("gpt2"))[:1]
    with pytest.raises(UserError, match=r"PEFT cannot adapt LlamaForCausalLM \(llama\)"):
        inject_lora(model, strange, rank=2, alpha=2, dropout=0.0, streams=STREAMS)
    some = [*layer_map(model)[:1], *strange]
    with pytest.raises(StageFailed, match=r"missing \['transformer\.h\.0\.attn\.c_attn'\]"):
        inject_lora(model, some, rank=2, alpha=2, dropout=0.0, streams=STREAMS)
    assert structure(model) == structure(tiny_model("llama"))


def test_attaching_restores_the_model_after_an_error(tmp_path: Path) -> None:
    model = tiny_model("qwen3_moe")
    adapter_folder(model, layer_map(model), tmp_path)
    before, shape = state(model), structure(model)
    model.model.layers[0].train()
    with pytest.raises(IndexError), attach_adapter(model, tmp_path):
        model(torch.tensor([[1000]]))
    with attach_adapter(model, tmp_path):
        assert not any(module.training for module in model.modules())
    assert model.model.layers[0].training
    model.eval()
    assert_same_state(before, model)
    assert structure(model) == shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adalora_trains_its_factors_alone_whatever_the_model_computes_in(dtype: torch.dtype) -> None:
    model = tiny_model("llama", dtype=dtype)
    layers = list(layer_map(model))[:2]
    settings = AdaLoraSettings()
    adapted = inject_adalora(model, layers, settings=settings, alpha=24, dropout=0.0, steps=9, streams=STREAMS)
    trained = {name: value for name, value in adapted.named_parameters() if value.requires_grad}
    assert len(trained) == 3 * len(layers)
    assert all(".lora_" in name for name in trained)
    assert {value.dtype for value in trained.values()} == {torch.float32}
