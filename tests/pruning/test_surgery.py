"""Pruned checkpoints, read back by transformers alone."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from layersig.errors import UserError
from layersig.layers import LayerMap
from layersig.models.layermap import layer_map_of_checkpoint
from layersig.pruning import surgery
from layersig.pruning.surgery import prune, whole_blocks, write_pruned
from layersig.records import Cell, Selection
from layersig.stages.job import Job
from layersig.stages.kinds import Prune
from layersig.streams import Streams
from tests.models.architectures import tiny_architecture
from tests.models.test_block_removal import ALL, greedy, logits_of, skipping
from tests.tiny import save_tiny, tiny_batch, tiny_tokenizer


@pytest.mark.parametrize("architecture", ALL)
def test_a_saved_model_computes_what_the_original_does_without_the_blocks(architecture, tmp_path):
    source = save_tiny(tmp_path / "source", architecture)
    original = AutoModelForCausalLM.from_pretrained(source).eval()
    tokens = tiny_batch(length=20)
    with skipping(original, [1]):
        due = logits_of(original, tokens)
    write_pruned(source, [1], tmp_path / "pruned")
    pruned = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned").eval()
    found = logits_of(pruned, tokens)
    torch.testing.assert_close(found, due, rtol=0, atol=1e-5 * due.abs().max().item())
    with skipping(original, [1]):
        reference = greedy(original, tokens, use_cache=False)
    assert torch.equal(greedy(pruned, tokens, use_cache=True), reference)
    assert torch.equal(greedy(pruned, tokens, use_cache=False), reference)


_GPT_NEO = {"num_layers": 4, "num_heads": 4, "attention_types": [[["global", "local"], 2]], "window_size": 6}
_ERNIE = {
    **{"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48},
    **{"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 16, "moe_layer_start_index": 1},
}


@pytest.mark.parametrize(
    ("architecture", "config"), [("gpt_neo", _GPT_NEO), ("ernie4_5_moe", {**_ERNIE, "moe_layer_interval": 1})]
)
def test_blocks_that_a_configuration_tells_apart_by_number_stay_what_they_are(architecture, config, tmp_path):
    shape = {"hidden_size": 32, "vocab_size": 260, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    original = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **shape, **config)).eval()
    original.save_pretrained(tmp_path / "source")
    tiny_tokenizer().save_pretrained(tmp_path / "source")
    tokens = tiny_batch(length=20)
    with skipping(original, [0]):
        due = logits_of(original, tokens)
    write_pruned(tmp_path / "source", [0], tmp_path / "pruned")
    pruned = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned").eval()
    torch.testing.assert_close(logits_of(pruned, tokens), due, rtol=0, atol=1e-5 * due.abs().max().item())
    assert torch.equal(greedy(pruned, tokens, use_cache=True), greedy(pruned, tokens, use_cache=False))


def test_weights_keep_their_dtype_a_head_its_tie_and_the_tokenizer_its_bytes(tmp_path):
    source = save_tiny(tmp_path / "source", "llama", dtype=torch.bfloat16, tied=True)
    write_pruned(source, [0, 2], tmp_path / "pruned")
    pruned = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    assert pruned.dtype is torch.bfloat16
    assert pruned.lm_head.weight is pruned.model.embed_tokens.weight
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "pruned" / name).read_bytes() == (source / name).read_bytes()
    assert AutoTokenizer.from_pretrained(tmp_path / "pruned").chat_template
    assert not list((tmp_path / "pruned").glob("*.bin"))
    assert str(tmp_path) not in (tmp_path / "pruned" / "config.json").read_text()


def shift(tensors):
    """As if what was copied were not what the model computes with."""
    return {name: value + 0.1 for name, value in tensors.items()}


def lose(tensors):
    """As if a tensor had been forgotten."""
    return dict(list(tensors.items())[1:])


def keep_more(tensors):
    """As if a tensor of a block that is gone had stayed."""
    return {**tensors, "model.layers.2.left.weight": torch.ones(2)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(shift, "computes something else"), (lose, "does not load in full"), (keep_more, "does not load in full")],
)
def test_nothing_is_written_when_what_is_left_does_not_pass(spoil, message, tmp_path, monkeypatch):
    source = save_tiny(tmp_path / "source", "llama")
    save = surgery.save_torch_state_dict
    monkeypatch.setattr(
        surgery, "save_torch_state_dict", lambda held, *args, **named: save(spoil(held), *args, **named)
    )
    with pytest.raises(UserError, match=rf"LlamaForCausalLM \(llama\): blocks cannot be removed, because .*{message}"):
        write_pruned(source, [1], tmp_path / "pruned")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["source"]


def test_a_small_fault_of_a_checkpoint_in_16_bits_is_noticed(tmp_path, monkeypatch):
    source = save_tiny(tmp_path / "source", "llama", dtype=torch.bfloat16)
    save = surgery.save_torch_state_dict

    def spoil(held, *args, **named):
        norm = "model.layers.0.input_layernorm.weight"
        save({**held, norm: held[norm] * 1.03}, *args, **named)

    monkeypatch.setattr(surgery, "save_torch_state_dict", spoil)
    with pytest.raises(UserError, match=r"computes something else .* \(logits differ by \d(\.\d+)? % of their norm\)"):
        write_pruned(source, [1], tmp_path / "pruned")


def test_matrices_with_a_stretch_for_every_block_lose_those_of_the_blocks_that_go(tmp_path):
    original = tiny_architecture("gemma3n_text")
    original.save_pretrained(tmp_path / "source")
    tiny_tokenizer().save_pretrained(tmp_path / "source")
    tokens = tiny_batch(length=20)
    with skipping(original, [1]):
        due = logits_of(original, tokens)
    write_pruned(tmp_path / "source", [1], tmp_path / "pruned")
    pruned = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned").eval()
    torch.testing.assert_close(logits_of(pruned, tokens), due)
    own, left = (model.model.embed_tokens_per_layer.weight for model in (original, pruned))
    assert torch.equal(left, torch.cat([own[:, :32], own[:, 64:]], 1))


def job_of(tmp_path, source, layers, selected):
    for name, value in {"layers": layers, "selection": Selection(selected, 0)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.json").write_text(json.dumps(value.to_json()))
    inputs = {"model": source, "layers": tmp_path / "layers", "selection": tmp_path / "selection"}
    for folder in ("out", "work"):
        (tmp_path / folder).mkdir()
    return Job(Cell(), Prune.of(head=False), inputs, tmp_path / "out", tmp_path / "work", Streams(0, None))


def test_the_stage_tells_what_is_left(tmp_path):
    source = save_tiny(tmp_path / "source", "mistral")
    layers = layer_map_of_checkpoint(source)
    job = job_of(tmp_path, source, layers, [layer.name for layer in layers if layer.block == 1])
    prune(job)
    assert json.loads((job.out / "all" / "pruned.json").read_text()) == {"removed": ["model.layers.1"], "blocks": 2}
    left = LayerMap.from_json(json.loads((job.out / "all" / "layers.json").read_text()))
    assert left == layer_map_of_checkpoint(job.out / "model")
    selection = Selection.from_json(json.loads((job.out / "all" / "selection.json").read_text()))
    assert selection.layers == left.names


def test_parts_of_blocks_are_refused(tmp_path):
    layers = layer_map_of_checkpoint(save_tiny(tmp_path / "source", "llama"), head=True)
    with pytest.raises(UserError, match="only complete blocks"):
        whole_blocks(Selection(("model.layers.1.self_attn.q_proj",), 0), layers)
    with pytest.raises(UserError, match="only complete blocks"):
        whole_blocks(Selection(("lm_head",), 0), layers)
