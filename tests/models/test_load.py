from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from layersig.errors import UserError
from layersig.models import load
from layersig.models.adapters import assert_moved, inject_lora, remove_adapter
from layersig.models.layermap import layer_map, layer_parameter
from layersig.models.load import borrow_model, load_model, load_tokenizer
from layersig.pruning.surgery import write_pruned
from layersig.scoring.gating import gated
from tests.models.helpers import STREAMS, low_rank_update, move
from tests.tiny import ARCHITECTURES, MIXTURES, save_tiny, tiny_batch, tiny_model, tiny_tokenizer

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def _load(path: Path) -> PreTrainedModel:
    return load_model(path, dtype=torch.float32, device=CPU)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_comes_back_frozen_and_in_eval_mode(architecture: str, tmp_path: Path) -> None:
    model = _load(save_tiny(tmp_path, architecture))
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model(tiny_batch()).logits, tiny_model(architecture)(tiny_batch()).logits)


def test_dtype_and_attention_are_obeyed(folder: Path) -> None:
    model = load_model(folder, dtype="bfloat16", device="cpu", attention="eager")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.config._attn_implementation == "eager"
    assert _load(folder).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("architecture", MIXTURES)
def test_mixtures_of_experts_compute_in_float64_too(architecture: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, architecture)
    exact = load_model(folder, dtype="float64", device="cpu")(tiny_batch()).logits
    assert exact.dtype is torch.float64
    torch.testing.assert_close(exact.float(), _load(folder)(tiny_batch()).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("keep", [0, 7, 2000])
def test_a_truncated_file_is_named(keep: int, folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"model\.safetensors: broken or incomplete"):
        _load(folder)


def test_missing_weights_are_named(tmp_path: Path, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        _load(folder)
    sharded = tmp_path / "sharded"
    tiny_model("llama").save_pretrained(sharded, max_shard_size="50KB")
    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name}: no such file"):
        _load(sharded)
    (sharded / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UserError, match=r"index\.json: is not a JSON object"):
        _load(sharded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 4}, r"do not fit config\.json: model\.layers\.3\.\S+ is missing"),
        ({"num_hidden_layers": 2}, r"leaves out weights of the checkpoint: model\.layers\.2\."),
        ({"intermediate_size": 64}, r"mlp\.down_proj\.weight is \(32, 48\), not \(32, 64\)"),
    ],
)
def test_weights_that_do_not_fit_the_configuration_are_refused(
    change: dict[str, int], message: str, folder: Path
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match=message):
        _load(folder)


def test_a_tokenizer_comes_with_a_padding_token(folder: Path, tmp_path: Path) -> None:
    assert load_tokenizer(folder).pad_token == "<pad>"
    bare = tiny_tokenizer()
    bare.pad_token = None
    bare.save_pretrained(tmp_path / "bare")
    assert load_tokenizer(tmp_path / "bare").pad_token == "</s>"
    assert load_tokenizer(folder)("é")["input_ids"] == tiny_tokenizer()("é")["input_ids"]


def test_a_missing_or_broken_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_tokenizer(tmp_path / "nowhere")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_tokenizer(folder)


@pytest.fixture
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_lent", None)


@pytest.mark.usefixtures("_nothing_kept")
def test_a_model_that_comes_back_clean_is_lent_again(folder: Path) -> None:
    with borrow_model(folder, dtype=torch.float32, device=CPU) as model:
        layers = layer_map(model)
        peft_model = inject_lora(model, layers, rank=2, alpha=2, dropout=0.0, streams=STREAMS)
        move(peft_model)
        assert_moved(peft_model, layers)
        remove_adapter(peft_model)
        with gated(model, low_rank_update(layers), torch.ones(len(layers), requires_grad=True)):
            model(tiny_batch(), labels=tiny_batch()).loss.backward()
    with borrow_model(folder, dtype="float32", device="cpu") as again:
        assert again is model


@pytest.mark.usefixtures("_nothing_kept")
def test_a_model_that_halves_its_weights_when_it_is_used_keeps_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model("rwkv", hidden_size=32, num_hidden_layers=8, vocab_size=260)
    reference = AutoModelForCausalLM.from_config(config).eval()
    reference.save_pretrained(tmp_path)
    with borrow_model(tmp_path, dtype=torch.float32, device=CPU, borrower="the test") as model:
        found = model(input_ids=tiny_batch()).logits
        assert model.config.rescale_every == config.rescale_every == 6
    with torch.no_grad():
        torch.testing.assert_close(found, reference(input_ids=tiny_batch()).logits, rtol=1e-3, atol=1e-3)
    tiny_tokenizer().save_pretrained(tmp_path)
    write_pruned(tmp_path, [1], tmp_path / "pruned")


def _leave_adapter(model: PreTrainedModel) -> None:
    inject_lora(model, layer_map(model), rank=2, alpha=2, dropout=0.0, streams=STREAMS)


def _leave_hook(model: PreTrainedModel) -> None:
    model.model.layers[0].register_forward_hook(lambda *_: None)


def _leave_gradients_on(model: PreTrainedModel) -> None:
    model.model.layers[0].mlp.up_proj.requires_grad_(True)


def _change_a_weight(model: PreTrainedModel) -> None:
    layer_parameter(model, layer_map(model)[0]).data[0, 0] += 1


def _cut_a_block(model: PreTrainedModel) -> None:
    del model.model.layers[1]


@pytest.mark.usefixtures("_nothing_kept")
@pytest.mark.parametrize(
    "spoil", [_leave_adapter, _leave_hook, _leave_gradients_on, _change_a_weight, _cut_a_block, PreTrainedModel.train]
)
def test_a_model_that_does_not_come_back_clean_is_dropped(spoil: object, folder: Path) -> None:
    with borrow_model(folder, dtype=torch.float32, device=CPU) as model:
        spoil(model)  # type: ignore[operator]
    with borrow_model(folder, dtype=torch.float32, device=CPU) as again:
        assert again is not model
        assert torch.equal(again(tiny_batch()).logits, tiny_model("llama")(tiny_batch()).logits)


@pytest.mark.usefixtures("_nothing_kept")
def test_one_model_is_kept_and_a_changed_folder_is_read_again(folder: Path, tmp_path: Path) -> None:
    with borrow_model(folder, dtype=torch.float32, device=CPU) as model:
        first = weakref.ref(model)
        with borrow_model(folder, dtype=torch.float32, device=CPU) as second:
            assert second is not model  # the borrower alone holds it
    del model, second
    save_tiny(folder, "qwen3")
    with borrow_model(folder, dtype=torch.float32, device=CPU) as other:
        assert other.config.model_type == "qwen3"
        gc.collect()
        assert first() is None


def test_a_quantised_model_has_the_layers_of_the_full_one_and_can_be_adapted(folder: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = load_model(folder, dtype=torch.float32, device=CPU, quantization="nf4")
    layers = layer_map(model, head=True)
    assert layers == layer_map(tiny_model("llama"), head=True)
    with pytest.raises(UserError, match=r"layers\.0\.self_attn\.q_proj is quantised"):
        layer_parameter(model, layers[0])
    base = model(tiny_batch()).logits
    peft_model = inject_lora(model, layers, rank=2, alpha=2, dropout=0.0, streams=STREAMS)
    move(peft_model)
    assert_moved(peft_model, layers)
    assert (peft_model(tiny_batch()).logits - base).abs().max() > 0.1
    assert torch.equal(remove_adapter(peft_model)(tiny_batch()).logits, base)


def test_quantisation_without_its_package_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(UserError, match="needs the package bitsandbytes"):
        load_model(folder, dtype=torch.float32, device=CPU, quantization="nf4")


@pytest.mark.parametrize(("device", "quantization", "due"), [("cuda:1", "none", True), ("cpu", "none", False)])
def test_weights_go_straight_to_a_gpu(tmp_path, device, quantization, due, monkeypatch):
    asked = {}

    class Stopped(Exception):
        pass

    def read(path, stored, **options):
        asked.update(options)
        raise Stopped

    monkeypatch.setattr(load, "pick_device", torch.device)
    monkeypatch.setattr(load, "_read", read)
    save_tiny(tmp_path)
    with pytest.raises(Stopped):
        load.load_model(tmp_path, dtype=torch.float32, device=device, quantization=quantization)
    assert asked.get("device_map") == ({"": torch.device(device)} if due else None)
