"""Merged checkpoints, read back by transformers alone, against PEFT's adapted model."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from layersig.models.checkpoints import write_merged
from layersig.models.dense import write_checkpoint
from layersig.models.layermap import layer_map
from layersig.models.load import load_model
from layersig.models.updates import DenseUpdate
from layersig.pruning.surgery import write_pruned
from tests.models.architectures import tiny_architecture
from tests.models.helpers import adapter_folder
from tests.tiny import save_tiny, tiny_batch, tiny_tokenizer


@pytest.mark.parametrize(
    ("architecture", "dtype", "tied", "head"),
    [
        ("llama", torch.float32, True, False),
        ("llama", torch.bfloat16, False, False),
        ("llama", torch.float32, True, True),
        ("gpt2", torch.float32, True, False),
        ("qwen3_moe", torch.float32, False, False),
    ],
)
def test_a_merged_model_is_the_adapted_one(tmp_path, architecture, dtype, tied, head):
    source = save_tiny(tmp_path / "source", architecture, dtype=dtype, tied=tied)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval().requires_grad_(False)
    layers = layer_map(model, head=head)
    due = adapter_folder(model, list(layers)[1:], tmp_path / "adapter")
    untied = write_merged(source, tmp_path / "adapter", tmp_path / "merged").untied
    assert untied is (tied and head)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert merged.dtype is torch.float32
    assert (merged.get_output_embeddings().weight is merged.get_input_embeddings().weight) is (tied and not head)
    with torch.no_grad():
        torch.testing.assert_close(merged(tiny_batch()).logits, due, rtol=1e-4, atol=1e-4)
    assert (tmp_path / "merged" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_an_adapter_of_a_quantised_model_is_merged_into_what_that_computes_with(tmp_path, architecture):
    pytest.importorskip("bitsandbytes")
    source = save_tiny(tmp_path / "source", architecture, dtype=torch.float32)
    model = load_model(source, dtype=torch.float32, device="cpu", quantization="nf4")
    due = adapter_folder(model, list(layer_map(model))[1:], tmp_path / "adapter")
    found = {}
    for name, nf4 in (("quantised", torch.float32), ("full", None)):
        write_merged(source, tmp_path / "adapter", tmp_path / name, nf4=nf4)
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / name).eval()
        with torch.no_grad():
            found[name] = merged(tiny_batch()).logits
    torch.testing.assert_close(found["quantised"], due, rtol=1e-4, atol=1e-4)
    assert (found["full"] - due).abs().max() > 0.05


def test_a_merge_loses_nothing_of_stored_float64(tmp_path):
    source = save_tiny(tmp_path / "source", "llama")
    file = source / "model.safetensors"
    exact = {name: value.double() + 1e-12 for name, value in load_file(file).items()}
    save_file(exact, file, metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval().requires_grad_(False)
    adapter_folder(model, layer_map(model)[:1], tmp_path / "adapter")
    write_merged(source, tmp_path / "adapter", tmp_path / "merged")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    changed = [name for name, value in exact.items() if not torch.equal(merged[name], value)]
    assert changed == ["model.layers.0.self_attn.q_proj.weight"]


def merge(source, folder):
    model = load_model(source, dtype=torch.float32, device="cpu")
    adapter_folder(model, layer_map(model), folder.parent / "adapter")
    write_merged(source, folder.parent / "adapter", folder)


def change(source, folder):
    model = load_model(source, dtype=torch.float32, device="cpu")
    layers = layer_map(model)
    update = DenseUpdate({layers[0].name: torch.ones(layers[0].shape)})
    write_checkpoint(model, layers, update, source, folder)


@pytest.mark.parametrize("write", [merge, change, lambda source, folder: write_pruned(source, [1], folder)])
@pytest.mark.parametrize("settings", [{"temperature": 0.6, "do_sample": False}, {"eos_token_id": [2, 7]}, None])
def test_settings_of_generation_come_along_as_they_are(write, settings, tmp_path):
    source = save_tiny(tmp_path / "source", "llama")
    file = source / "generation_config.json"
    if settings is None:
        file.unlink()
    else:
        file.write_text(json.dumps(settings))
    write(source, tmp_path / "out")
    written = tmp_path / "out" / file.name
    if settings is None:
        assert json.loads(written.read_text())["eos_token_id"] == 2
    else:
        assert written.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("architecture", ["glm4_moe", "llama"])
def test_a_cast_leaves_in_float32_what_transformers_does(tmp_path, architecture):
    source = tmp_path / "source"
    tiny_architecture(architecture).save_pretrained(source)
    tiny_tokenizer().save_pretrained(source)
    model = load_model(source, dtype=torch.float32, device="cpu")
    adapter_folder(model, list(layer_map(model)), tmp_path / "adapter")
    write_merged(source, tmp_path / "adapter", tmp_path / "merged", dtype=torch.bfloat16)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "merged"))
    wide = {name for name, value in after.items() if value.dtype is not torch.bfloat16}
    assert wide == {name for name in before if "e_score_correction_bias" in name}
    assert bool(wide) is (architecture == "glm4_moe")
    assert all(after[name].dtype is torch.float32 and torch.equal(after[name], before[name]) for name in wide)


@pytest.mark.parametrize("write", [merge, change, lambda source, folder: write_pruned(source, [1], folder)])
def test_what_prepares_images_and_sounds_comes_along(write, tmp_path):
    source = save_tiny(tmp_path / "source", "llama")
    names = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "tekken.json")
    for name in names:
        (source / name).write_text(f'{{"of": "{name}"}}')
    write(source, tmp_path / "out")
    assert all((tmp_path / "out" / name).read_bytes() == (source / name).read_bytes() for name in names)
