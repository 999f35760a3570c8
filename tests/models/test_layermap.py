from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from layersig.errors import UserError
from layersig.layers import LayerMap, Part, Unit
from layersig.models.layermap import (
    has_tied_head,
    layer_map,
    layer_map_of_checkpoint,
    layer_parameter,
    layer_weight,
    model_of_configuration,
)
from tests.models.architectures import tiny_architecture
from tests.models.helpers import STREAMS
from tests.tiny import ARCHITECTURES, MIXTURES, save_tiny, tiny_batch, tiny_model

SEPARATE: dict[str, tuple[int, ...]] = {
    "self_attn.q_proj": (32, 32),
    "self_attn.k_proj": (16, 32),
    "self_attn.v_proj": (16, 32),
    "self_attn.o_proj": (32, 32),
}
LLAMA: dict[str, tuple[int, ...]] = {
    **SEPARATE,
    "mlp.gate_proj": (48, 32),
    "mlp.up_proj": (48, 32),
    "mlp.down_proj": (32, 48),
}
EXPECTED: dict[str, dict[str, tuple[int, ...]]] = {
    "phi3": {
        "self_attn.o_proj": (32, 32),
        "self_attn.qkv_proj": (64, 32),
        "mlp.gate_up_proj": (96, 32),
        "mlp.down_proj": (32, 48),
    },
    "gpt_neox": {
        "attention.query_key_value": (96, 32),
        "attention.dense": (32, 32),
        "mlp.dense_h_to_4h": (48, 32),
        "mlp.dense_4h_to_h": (32, 48),
    },
    "gpt2": {"attn.c_attn": (96, 32), "attn.c_proj": (32, 32), "mlp.c_fc": (48, 32), "mlp.c_proj": (32, 48)},
    "qwen3_moe": {**SEPARATE, "mlp.experts.gate_up_proj": (4, 32, 32), "mlp.experts.down_proj": (4, 32, 16)},
    "qwen2_moe": {
        **SEPARATE,
        "mlp.experts.gate_up_proj": (4, 32, 32),
        "mlp.experts.down_proj": (4, 32, 16),
        "mlp.shared_expert.gate_proj": (24, 32),
        "mlp.shared_expert.up_proj": (24, 32),
        "mlp.shared_expert.down_proj": (32, 24),
    },
    "gpt_oss": {**SEPARATE, "mlp.experts.gate_up_proj": (4, 96, 32), "mlp.experts.down_proj": (4, 32, 48)},
}
PREFIX = {"gpt_neox": "gpt_neox.layers", "gpt2": "transformer.h"}
EVERY = sorted({*ARCHITECTURES, *MIXTURES})


@pytest.mark.parametrize("architecture", EVERY)
def test_every_linear_map_of_every_block_is_a_layer(architecture: str) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model)
    kinds = EXPECTED.get(architecture, LLAMA)
    prefix = PREFIX.get(architecture, "model.layers")
    blocks = model.config.num_hidden_layers
    assert layers.blocks == tuple(f"{prefix}.{index}" for index in range(blocks))
    assert len(layers) == blocks * len(kinds)
    for layer in layers:
        assert layer.name == f"{prefix}.{layer.block}.{layer.kind}"
        assert layer.shape == kinds[layer.kind]
        assert layer.part is (Part.ATTENTION if "attn" in layer.kind or "attention" in layer.kind else Part.MLP)
        assert layer.is_parameter == ("experts" in layer.kind.split("."))
        assert layer.parameters == torch.tensor(layer.shape).prod()
    assert [layer.block for layer in layers] == sorted(layer.block or 0 for layer in layers)
    assert len(layers.groups(Unit.PART)) == 2 * blocks


@pytest.mark.parametrize("architecture", EVERY)
def test_the_map_of_a_checkpoint_is_that_of_the_loaded_model(architecture: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, architecture)
    expected = layer_map(tiny_model(architecture), head=True)
    (folder / "model.safetensors").unlink()
    assert layer_map_of_checkpoint(folder, head=True) == expected
    assert LayerMap.from_json(expected.to_json()) == expected


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_is_the_last_layer_when_asked_for(tied: bool) -> None:
    model = tiny_model("llama", tied=tied)
    layers = layer_map(model, head=True)
    assert layers.tied_head is has_tied_head(model) is tied
    assert layers.names == (*layer_map(model).names, "lm_head")
    assert (layers[-1].block, layers[-1].part, layers[-1].shape) == (None, Part.HEAD, (260, 32))


def test_a_seven_billion_parameter_llama_has_the_225_layers_of_the_paper() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama"))
    assert len(layer_map(model)) == 224
    assert len(layer_map(model, head=True)) == 225


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_moe", "gpt_oss"])
def test_a_weight_is_read_as_out_by_in(architecture: str) -> None:
    model = tiny_model(architecture)
    inputs: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}
    layers = [layer for layer in layer_map(model, head=True) if not layer.is_parameter]
    for layer in layers:

        def keep(module: nn.Module, x: tuple[torch.Tensor], y: torch.Tensor, name: str = layer.name) -> None:
            inputs[name], outputs[name] = x[0], y

        model.get_submodule(layer.name).register_forward_hook(keep)
    model(tiny_batch())
    for layer in layers:
        bias = getattr(model.get_submodule(layer.name), "bias", None)
        expected = nn.functional.linear(inputs[layer.name], layer_weight(model, layer), bias)
        torch.testing.assert_close(outputs[layer.name], expected)
    for layer in layer_map(model):
        assert layer_weight(model, layer).shape == layer.shape
        assert layer_parameter(model, layer).data_ptr() == layer_weight(model, layer).data_ptr()


class Mystery(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(32, 32))


def _encoder_decoder() -> PreTrainedModel:
    config = AutoConfig.for_model("t5", d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=32)
    return AutoModelForSeq2SeqLM.from_config(config)


def _unknown_linear() -> PreTrainedModel:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj = Mystery()
    return model


def _no_block_list() -> PreTrainedModel:
    model = tiny_model("llama")
    model.config.num_hidden_layers = 17
    return model


def _shared_weights() -> PreTrainedModel:
    model = tiny_model("llama")
    model.model.layers[2].self_attn.q_proj.weight = model.model.layers[0].self_attn.q_proj.weight
    return model


def _adapted() -> PreTrainedModel:
    from layersig.models.adapters import inject_lora

    model = tiny_model("llama")
    inject_lora(model, layer_map(model), rank=2, alpha=2, dropout=0.0, streams=STREAMS)
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_encoder_decoder, "encoder-decoder"),
        (_unknown_linear, r"model\.layers\.1\.mlp\.up_proj\.weight is a matrix .* Mystery"),
        (_no_block_list, "no list of 17 blocks"),
        (_shared_weights, r"layers\.2\.self_attn\.q_proj and model\.layers\.0\.self_attn\.q_proj share one weight"),
        (_adapted, "PEFT adapter"),
    ],
)
def test_a_model_whose_layers_cannot_be_told_is_refused(build: Callable[[], PreTrainedModel], message: str) -> None:
    with pytest.raises(UserError, match=message):
        layer_map(build())


def test_a_head_that_is_not_linear_cannot_be_a_layer() -> None:
    model = tiny_model("llama")
    model.lm_head = nn.Sequential(nn.Linear(32, 260))
    model.config.tie_word_embeddings = False
    with pytest.raises(UserError, match="no linear output head"):
        layer_map(model, head=True)


@pytest.mark.parametrize(
    ("architecture", "more"),
    [("gemma4_text", {"num_kv_shared_layers": 2}), ("mamba", {}), ("granitemoehybrid", {}), ("gemma3_text", {})],
)
def test_the_first_blocks_of_a_configuration_are_those_of_the_whole_model(
    architecture: str, more: dict[str, int], tmp_path: Path
) -> None:
    model = tiny_architecture(architecture)
    model.config.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more, "architectures": [type(model).__name__]}))
    first = layer_map(model_of_configuration(tmp_path, depth=2))
    assert list(first) == [layer for layer in layer_map(model) if layer.block in (0, 1)]
