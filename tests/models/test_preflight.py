"""What is said of a model and of an update before the first stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from layersig.errors import UserError
from layersig.layers import LayerMap
from layersig.models.dense import FILE
from layersig.models.layermap import layer_map
from layersig.models.preflight import check_base, check_update, names_of
from layersig.sources.files import check_model_folder, check_update_folder
from tests.models.helpers import adapter_folder
from tests.models.test_fit import configure, is_norm, rewrite
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer


def base(folder: Path, dtype: torch.dtype = torch.float32) -> list[str]:
    return check_base(folder, head=False, dtype=dtype)[1]


def test_nothing_is_said_of_a_model_that_is_what_it_says(tmp_path: Path) -> None:
    assert base(save_tiny(tmp_path)) == []
    layers, _ = check_base(tmp_path, head=True, dtype=torch.float32)
    assert layers == layer_map(tiny_model("llama"), head=True)


def test_types_that_differ_are_named_and_counted(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, dtype=torch.bfloat16)
    assert base(folder, torch.bfloat16) == []
    rewrite(
        folder, lambda tensors: {name: value.float() if is_norm(name) else value for name, value in tensors.items()}
    )
    (declared, rounded) = base(folder, torch.bfloat16)
    norms = "7 in float32 (such as model.layers.0.input_layernorm.weight)"
    assert (
        f"config.json declares bfloat16, but of 30 tensors the files hold {norms}; what the files hold counts"
        in declared
    )
    assert f"computes in bfloat16, to which 7 of 30 tensors are rounded: {norms}" in rounded
    assert len(base(folder, torch.float32)) == 1
    configure(folder, dtype="float16")
    assert "declares float16, but of 30 tensors the files hold 23 in bfloat16" in base(folder, torch.float32)[0]


def test_tokens_without_an_embedding_are_refused_if_they_are_sure_to_occur(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path)
    cases: list[tuple[Callable[[Any], object], bool]] = [
        (lambda tokenizer: tokenizer.add_tokens(["<tool>", "<image>"]), False),
        (lambda tokenizer: tokenizer.add_special_tokens({"pad_token": "<new pad>"}), True),
        (lambda tokenizer: tokenizer.add_special_tokens({"eos_token": "<|end|>"}), True),
        (lambda tokenizer: (tokenizer.add_tokens(["assistant"]), None), True),
    ]
    for change, refused in cases:
        tokenizer = tiny_tokenizer()
        change(tokenizer)
        tokenizer.save_pretrained(folder)
        if refused:
            with pytest.raises(UserError, match=r"beyond the 260 rows of the embedding: .* \(260\); bring"):
                base(folder)
        else:
            (said,) = base(folder)
            assert "2 tokens beyond the 260 rows of the embedding ('<image>', '<tool>')" in said


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    model = tiny_model("llama")
    adapter_folder(model, layer_map(model), tmp_path / "adapter")
    return tmp_path / "adapter"


def layers_of(architecture: str = "llama") -> LayerMap:
    return layer_map(tiny_model(architecture))


def recorded(adapter: Path, **changes: Any) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("made_for", "study", "same"),
    [
        ("org/Model-7B", "hub:org/Model-7B@abc123", True),
        ("org/model-7b", "hub:org/Model-7B", True),
        ("/home/me/checkpoints/Model-7B/", "path:../Model-7B", True),
        ("hub:org/Model-7B@abc123", "path:/data/Model-7B", True),
        ("path:model", "path:model", True),
        (None, "path:model", True),
        ("org/Model-7B", "hub:org/Model-7B-Instruct", False),
        ("org/Model-7B", "hub:other/Model-7B", False),
        ("/home/me/base", "path:tuned", False),
        ("org/Model-7B", "path:Model-8B", False),
    ],
)
def test_an_adapter_of_another_base_is_named(made_for: str | None, study: str, same: bool, adapter: Path) -> None:
    recorded(adapter, base_model_name_or_path=made_for)
    said = check_update(adapter, layers_of(), [study])
    assert (
        said == [] if same else f"records {made_for!r} as its base model, and the study's model is {study}" in said[0]
    )


def test_a_model_goes_by_the_name_that_its_configuration_records(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path)
    assert names_of(folder, "path:m") == ["path:m"]
    configure(folder, _name_or_path="org/Model-7B")
    assert names_of(folder, "path:m") == ["path:m", "org/Model-7B"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": 4}, r"have shapes .* but the model and rank 4 ask for"),
        ({"r": "8"}, "r = '8' is not a rank"),
        ({"lora_alpha": "16"}, "lora_alpha = '16' is not a number"),
        ({"rank_pattern": {"q_proj": 2.5}}, "rank_pattern = .* is not a table of ranks"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern = .* is not a table of numbers"),
        ({"rank_pattern": {"q_proj(": 2}}, "rank_pattern = .* is not a table of ranks"),
        ({"use_dora": True}, r"DoRA needs \d+ magnitudes for model\.layers\.0\.\S+, and there are none"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save = .* is not supported"),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices = .* is not supported"),
        ({"bias": "all"}, "bias = 'all' is not supported"),
        ({"init_lora_weights": "pissa"}, "changes the base weights"),
        ({"target_modules": {"a": 1}}, "target_modules = .* is not a list of names"),
        ({"peft_type": "IA3"}, "only LORA and ADALORA"),
        ({"peft_type": ["LORA"]}, "only LORA and ADALORA"),
    ],
)
def test_an_adapter_that_is_no_update_of_the_layers_is_refused(
    changes: dict[str, Any], message: str, adapter: Path
) -> None:
    recorded(adapter, **changes)
    with pytest.raises(UserError, match=rf"adapter_(config\.json|model\.safetensors): .*{message}"):
        check_update(adapter, layers_of(), ["some/base"])


def first(tensors: dict[str, Tensor]) -> str:
    return min(tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held | {first(held): held[first(held)] * float("nan")}, "not finite"),
        (lambda held: held | {first(held): held[first(held)].to(torch.int8)}, "stored as I8"),
        (lambda held: {name: value for name, value in held.items() if "layers.2" not in name}, "no change for 7 of 21"),
        (lambda held: held | {"base_model.model.lm_head.weight": torch.ones(2, 2)}, "lm_head.weight is no factor"),
        (
            lambda held: {name.replace(".layers.", ".h."): value for name, value in held.items()},
            "no layer of the model",
        ),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, adapter: Path
) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=message):
        check_update(adapter, layers_of(), ["some/base"])


def test_an_update_of_other_layers_is_refused_before_it_is_read(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no layer of the model"):
        check_update(adapter, layers_of("gpt2"), ["some/base"])
    other = save_tiny(tmp_path / "other", "gpt2")
    with pytest.raises(UserError, match=r"is not the recipe's model with other weights"):
        check_update(other, layers_of(), ["some/base"])
    dense = tmp_path / "dense"
    dense.mkdir()
    name = layers_of()[0].name
    save_file({name: torch.zeros(2, 2)}, dense / FILE)
    with pytest.raises(UserError, match=rf"the change of {name} is \(2, 2\), the layer \(32, 32\)"):
        check_update(dense, layers_of(), ["some/base"])
    save_file({name: torch.zeros(32, 32)}, dense / FILE)
    with pytest.raises(UserError, match="has no change for 20 of 21 layers"):
        check_update(dense, layers_of(), ["some/base"])


def test_a_folder_of_two_kinds_is_refused_for_either_use(adapter: Path) -> None:
    check_update_folder(adapter)
    save_tiny(adapter)
    with pytest.raises(UserError, match=r"holds an adapter .* and the weights of a whole model"):
        check_update_folder(adapter)
    with pytest.raises(UserError, match="holds the weights of a model and an adapter"):
        check_model_folder(adapter)
