"""The conversion, against gguf's own dequantisation and a tokenizer put together by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from layersig.sources.gguf import convert
from tests.sources.tiny_gguf import write_tiny_gguf


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    home = tmp_path_factory.mktemp("gguf")
    expected = write_tiny_gguf(home / "tiny.gguf")
    folder = home / "folder"
    folder.mkdir()
    convert(home / "tiny.gguf", folder)
    return folder, expected


def test_weights_are_exactly_what_the_blocks_dequantise_to(converted: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, expected = converted
    found = load_file(folder / "model.safetensors")
    assert set(found) == set(expected)
    for name, weight in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], weight, err_msg=name)


def test_the_folder_is_a_plain_model(converted: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, _ = converted
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["rope_parameters"]["rope_theta"] == 100000.0
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == "<|im_start|>a<|im_end|>"
    )
    assert tokenizer.model_max_length == 128


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a\n\n1. b", ["a", "ĊĊ", "1", ".", "Ġ", "b"]),
        ("a  23", ["a", "ĠĠ", "2", "3"]),
        ("a  b", ["a", "Ġ", "Ġ", "b"]),
        ("<|im_start|>7<|im_end|>", ["<|im_start|>", "7", "<|im_end|>"]),
    ],
)
def test_digits_stand_alone_and_leave_the_white_space_before_them_whole(
    converted: tuple[Path, dict[str, np.ndarray]], text: str, tokens: list[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted[0])
    ids = tokenizer(text).input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == tokens
    assert tokenizer.decode(ids) == text
