"""Adapters in PEFT's format are read whoever made them, and what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from layersig.errors import UserError
from layersig.models.adapters import attach_adapter, graft, read_adapter
from layersig.models.adapters.wrappers import expected_warnings
from layersig.models.layermap import layer_map, layer_parameter, layer_weight
from layersig.models.update_folder import read_update
from tests.models.helpers import adapter_folder, move, structure
from tests.tiny import tiny_batch, tiny_model


def test_adapting_one_expert_parameter_leaves_the_next_adapter_readable(tmp_path: Path) -> None:
    model = tiny_model("qwen3_moe")
    layers = layer_map(model)
    shape = structure(model)
    only = [layer for layer in layers if layer.kind == "mlp.experts.gate_up_proj"]
    adapter_folder(model, only, tmp_path / "one")
    with attach_adapter(model, tmp_path / "one"):
        model(tiny_batch())
    assert structure(model) == shape
    expected = adapter_folder(model, layers, tmp_path / "all")
    with expected_warnings():
        reloaded = PeftModel.from_pretrained(tiny_model("qwen3_moe"), tmp_path / "all")
    torch.testing.assert_close(reloaded(tiny_batch()).logits, expected)


@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_made_with_plain_peft_is_read(rslora: bool, tmp_path: Path) -> None:
    model = tiny_model("llama")
    layers = layer_map(model)
    config = LoraConfig(
        r=4,
        lora_alpha=6,
        use_rslora=rslora,
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"down_proj": 2},
        alpha_pattern={"layers.1.self_attn.q_proj": 3},
        init_lora_weights=False,
    )
    with expected_warnings():
        peft_model = get_peft_model(model, config)
    peft_model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    update = read_adapter(tmp_path, layers)
    assert update.layers == tuple(name for name in layers.names if name.endswith(("q_proj", "down_proj")))
    for name in update.layers:
        wrapper = model.get_submodule(name)
        expected = wrapper.get_delta_weight("default").detach()
        torch.testing.assert_close(update.delta(name).dense(), expected)
        assert update.norm(name) == pytest.approx(float(expected.double().norm()), rel=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_dora_adapter_made_with_plain_peft_is_read_against_the_weights(architecture: str, tmp_path: Path) -> None:
    model, plain = tiny_model(architecture), tiny_model(architecture)
    layers = layer_map(model)
    chosen = [layers[1], layers[4]]
    config = LoraConfig(r=3, lora_alpha=6, use_dora=True, target_modules=[layer.name for layer in chosen])
    with expected_warnings():
        peft_model = get_peft_model(model, config)
    for number, (name, parameter) in enumerate(peft_model.named_parameters()):
        if parameter.requires_grad and "lora_A" not in name:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    peft_model.save_pretrained(str(tmp_path / "all"), save_embedding_layers=False)
    update = read_update(tmp_path / "all", layers, lambda: plain)
    graft(tmp_path / "all", layers, chosen[:1], tmp_path / "one")
    with attach_adapter(tiny_model(architecture), tmp_path / "one") as attached:
        kept = attached(tiny_batch()).logits
    merged = peft_model.merge_and_unload()
    for layer in chosen:
        change = layer_weight(merged, layer) - layer_weight(plain, layer)
        torch.testing.assert_close(update.delta(layer.name).dense(), change, rtol=1e-4, atol=1e-6)
    layer_parameter(merged, chosen[1]).data.copy_(layer_parameter(plain, chosen[1]))
    torch.testing.assert_close(kept, merged(tiny_batch()).logits, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="rescales the weights of its model"):
        read_adapter(tmp_path / "all", layers)


def test_the_weight_that_peft_saves_beside_an_adapted_head_is_passed_over(tmp_path: Path) -> None:
    model = tiny_model("qwen2")
    layers = layer_map(model, head=True)
    head = model.lm_head.weight.detach().clone()
    config = LoraConfig(r=2, target_modules=["q_proj", "lm_head"], task_type="CAUSAL_LM")
    with expected_warnings():
        adapted = get_peft_model(model, config)
    move(adapted)
    adapted.save_pretrained(tmp_path, save_embedding_layers=True)  # what PEFT does by itself, with a warning
    assert any(key.endswith("lm_head.base_layer.weight") for key in load_file(tmp_path / "adapter_model.safetensors"))
    update = read_adapter(tmp_path, layers)
    assert update.layers == tuple(layer.name for layer in layers if layer.name.endswith(("q_proj", "lm_head")))
    merged = adapted.merge_and_unload().lm_head.weight
    torch.testing.assert_close(update.delta("lm_head").dense(), merged - head, rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="lm_head, which is no layer"):
        read_adapter(tmp_path, layer_map(model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type is LOHA"),
        ({"use_dora": True}, r"DoRA needs 16 magnitudes for .*, and there are none"),
        ({"bias": "all"}, "bias = 'all' is not supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "changes the base weights"),
        ({"r": 5}, r"rank 5 ask for \(5, 32\)"),
    ],
)
def test_an_adapter_that_is_more_than_low_rank_factors_is_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    model = tiny_model("llama")
    layers = layer_map(model)
    adapter_folder(model, layers[:2], tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        read_adapter(tmp_path, layers)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    model = tiny_model("llama", tied=False)
    layers = layer_map(model, head=True)
    adapter_folder(model, layers[-2:], tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    with pytest.raises(UserError, match="adapts lm_head, which is no layer"):
        read_adapter(tmp_path, layer_map(model))
    tensors = load_file(file)
    del tensors["base_model.model.lm_head.lora_A.weight"]
    save_file(tensors, file)
    with pytest.raises(UserError, match="lm_head has only one of its two factors"):
        read_adapter(tmp_path, layers)
    save_file({"base_model.model.model.embed_tokens.lora_embedding_A": torch.zeros(1)}, file)
    with pytest.raises(UserError, match=r"embed_tokens\.lora_embedding_A is no factor"):
        read_adapter(tmp_path, layers)
    file.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: broken or incomplete"):
        read_adapter(tmp_path, layers)
    file.unlink()
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: no such file"):
        read_adapter(tmp_path, layers)
    with pytest.raises(UserError, match=r"adapter_config\.json: no such file"):
        read_adapter(tmp_path / "nowhere", layers)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"adapter_config\.json: not a configuration of PEFT"):
        read_adapter(tmp_path, layers)
