from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from layersig.errors import UserError
from layersig.models.config import read_config
from tests.tiny import save_tiny


def test_the_configuration_of_a_decoder_is_read(tmp_path: Path) -> None:
    assert read_config(save_tiny(tmp_path, "qwen3")).model_type == "qwen3"


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        read_config(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="name its base model"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "is not a JSON object"),
        ('{"model_type": "no-such-model"}', "not a configuration"),
        ("{}", "not a configuration"),
        (
            '{"model_type": "llama", "rope_parameters": ' + '{"a":' * 500 + "1" + "}" * 501,
            "is nested more than 64 levels",
        ),
        (
            '{"model_type": "llama", "layer_types": ' + "[" * 200_000 + "]" * 200_000 + "}",
            "is nested more than 64 levels",
        ),
        ('{"model_type": "llama", "architectures": {"a": 1}}', "`architectures` is not a list of names"),
        ('{"model_type": ["llama"]}', "not a configuration"),
    ],
    ids=range(8),
)
def test_a_broken_configuration_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=rf"config\.json: {message}"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    "quantisation",
    [
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
        {"compression_config": {"quant_method": "compressed-tensors"}},
        {"text_config": {"quantization_config": {"quant_method": "awq"}}},
    ],
)
def test_quantised_weights_are_refused_by_the_name_of_their_method(
    quantisation: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    file = save_tiny(tmp_path) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **quantisation}))
    with pytest.raises(UserError, match=r"config\.json: the weights are stored quantised \((gptq|fp8|comp\S+|awq)\)"):
        read_config(tmp_path)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    AutoConfig.for_model("t5").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="encoder-decoder"):
        read_config(tmp_path)
    AutoConfig.for_model("vit").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="vit has no causal language model"):
        read_config(tmp_path)


def test_a_classifier_made_from_a_decoder_is_refused(tmp_path: Path) -> None:
    file = save_tiny(tmp_path) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "architectures": ["LlamaForSequenceClassification"]}))
    with pytest.raises(UserError, match=r"is a LlamaForSequenceClassification, not a causal .*LlamaForCausalLM"):
        read_config(tmp_path)
