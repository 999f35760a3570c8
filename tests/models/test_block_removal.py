"""Blocks taken out of a model: what is left computes what the original computes with these blocks skipped."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.errors import UserError
from layersig.models.block_removal import remove_blocks, shortened, without_blocks
from layersig.models.layermap import block_list
from layersig.models.load import load_model
from layersig.scoring.retention import Retention
from tests.models.architectures import tiny_architecture
from tests.tiny import ARCHITECTURES, MIXTURES, save_tiny, tiny_batch, tiny_model


@contextmanager
def skipping(model, removed):
    """The independent reference: hooks that put a block's input in the place of its output."""
    _, blocks = block_list(model)
    handles = []
    for place in removed:

        def put_back(_, args, kwargs, output):
            entered = args[0] if args else kwargs["hidden_states"]
            return (entered, *output[1:]) if isinstance(output, tuple) else entered

        handles.append(blocks[place].register_forward_hook(put_back, with_kwargs=True))
    yield
    for handle in handles:
        handle.remove()


def logits_of(model, tokens):
    with torch.no_grad():
        return model(tokens, use_cache=False).logits


def greedy(model, tokens, *, use_cache):
    return model.generate(tokens, max_new_tokens=12, do_sample=False, use_cache=use_cache, eos_token_id=None)


ALL = tuple(dict.fromkeys((*ARCHITECTURES, *MIXTURES)))


@pytest.mark.parametrize("architecture", ALL)
@pytest.mark.parametrize("removed", [(0,), (1, 2)])
def test_removal_is_skipping(architecture, removed):
    model = tiny_model(architecture)
    tokens = tiny_batch(length=20)
    with skipping(model, removed):
        due = logits_of(model, tokens)
    before = logits_of(model, tokens)
    with without_blocks(model, removed):
        torch.testing.assert_close(logits_of(model, tokens), due, rtol=0, atol=1e-5 * due.abs().max().item())
        cached = greedy(model, tokens, use_cache=True)
        assert torch.equal(cached, greedy(model, tokens, use_cache=False))
    assert torch.equal(logits_of(model, tokens), before)
    assert not torch.allclose(before, due)


def test_a_quantised_model_can_do_without_blocks_for_a_while(tmp_path):
    pytest.importorskip("bitsandbytes")
    model = load_model(save_tiny(tmp_path), dtype=torch.float32, device="cpu", quantization="nf4")
    tokens = tiny_batch()
    with skipping(model, [1]):
        due = logits_of(model, tokens)
    with without_blocks(model, [1]):
        assert torch.equal(logits_of(model, tokens), due)


def test_a_removal_for_a_while_leaves_no_trace():
    model = tiny_model("gemma3_text")
    config, blocks = model.config.to_dict(), list(block_list(model)[1])
    with without_blocks(model, [0, 2]):
        assert model.config.num_hidden_layers == 2 == len(model.config.layer_types)
    assert model.config.to_dict() == config
    assert list(block_list(model)[1]) == blocks
    assert [block.self_attn.layer_idx for block in blocks] == [0, 1, 2, 3]


def test_sparse_blocks_stay_sparse():
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    mixture = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "decoder_sparse_step": 2}
    config = AutoConfig.for_model(
        "qwen3_moe", **shape, **mixture, num_hidden_layers=6, mlp_only_layers=[1], vocab_size=64, head_dim=8
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    kinds = [type(block.mlp).__name__ for block in block_list(model)[1]]
    remove_blocks(model, [0, 3])
    assert (model.config.decoder_sparse_step, model.config.mlp_only_layers) == (1, [0, 1, 2])
    left = AutoModelForCausalLM.from_config(model.config)
    assert [type(block.mlp).__name__ for block in block_list(left)[1]] == [kinds[place] for place in (1, 2, 4, 5)]


def test_a_configuration_is_shortened_by_what_its_lists_mean():
    config = {
        "layer_types": ["a", "b", "c", "d"],
        "no_rope_layers": [1, 1, 1, 0],
        "mlp_only_layers": [0, 3],
        "first_k_dense_replace": 2,
        "num_kv_shared_layers": 1,
        "hybrid_override_pattern": "M-M*",
        "per_layer_config": {0: {"head_dim": 4}, "3": {"head_dim": 8}},
        "mtp_layer_types": ["a", "b", "c", "d"],
        "num_blocks": 4,
        "eos_token_id": [7, 8, 9, 10],
        "architectures": ["X"],
    }
    assert shortened(config, 4, [1, 3]) == {
        "num_hidden_layers": 2,
        "layer_types": ["b", "d"],
        "no_rope_layers": [1, 0],
        "mlp_only_layers": [1],
        "first_k_dense_replace": 1,
        "num_kv_shared_layers": 1,
        "hybrid_override_pattern": "-*",
        "per_layer_config": {1: {"head_dim": 8}},
        "num_blocks": 2,
    }


def test_what_cannot_be_expressed_is_refused():
    shape = {"n_embd": 32, "n_inner": 48, "n_layer": 3, "n_head": 4, "vocab_size": 64}
    scaled = AutoConfig.for_model("gpt2", **shape, scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(UserError, match="scale_attn_by_inverse_layer_idx"):
        remove_blocks(AutoModelForCausalLM.from_config(scaled), [0])
    with pytest.raises(UserError, match="there is no block 3"):
        remove_blocks(tiny_model("llama"), [3])
    with pytest.raises(UserError, match="no block would be left"):
        remove_blocks(tiny_model("llama"), [0, 1, 2])
    odd = tiny_model("llama")
    odd.model.layers[2].self_attn.scaling = 0.5
    with pytest.raises(UserError, match=r"model\.layers\.1 has self_attn\.scaling = 0\.5"):
        remove_blocks(odd, [0])


def test_a_quantised_matrix_outside_of_the_blocks_is_no_hindrance(tmp_path):
    pytest.importorskip("bitsandbytes")
    shape = {"hidden_size": 64, "ffn_dim": 64, "num_attention_heads": 4, "num_hidden_layers": 3, "vocab_size": 260}
    config = AutoConfig.for_model("opt", **shape, word_embed_proj_dim=32, max_position_embeddings=64)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model = load_model(tmp_path, dtype=torch.float32, device="cpu", quantization="nf4")
    assert hasattr(model.model.decoder.project_in.weight, "quant_state")
    with skipping(model, [1]):
        due = logits_of(model, tiny_batch())
    with without_blocks(model, [1]):
        assert torch.equal(logits_of(model, tiny_batch()), due)


def test_a_quantised_stretch_for_every_block_is_refused_with_a_cure(tmp_path):
    pytest.importorskip("bitsandbytes")
    tiny_architecture("gemma3n_text").save_pretrained(tmp_path)
    model = load_model(tmp_path, dtype=torch.float32, device="cpu", quantization="nf4")
    with pytest.raises(UserError, match=r"per_layer_model_projection\.weight holds .* is quantised; set model"):
        remove_blocks(model, [1])


def test_blocks_that_cannot_go_are_named_before_anything_is_evaluated():
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    words = {"vocab_size": 260, "vocab_size_per_layer_input": 260, "hidden_size_per_layer_input": 8}
    kinds = {"layer_types": ["sliding_attention", "full_attention"] * 3, "num_kv_shared_layers": 2}
    config = AutoConfig.for_model(
        "gemma4_text", **shape, **words, **kinds, num_hidden_layers=6, head_dim=8, global_head_dim=16
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    with without_blocks(model, [1]):
        pass

    def evaluate(_):
        raise AssertionError("evaluated")

    with pytest.raises(UserError, match="gemma4_text: blocks cannot be removed"):
        Retention(SimpleNamespace(model=model, evaluate=evaluate), range(6))
    assert model.config.num_hidden_layers == 6
