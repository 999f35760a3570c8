"""What the files of a checkpoint hold against what config.json says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from layersig.errors import UserError
from layersig.models.external_update import difference
from layersig.models.layermap import layer_map_of_checkpoint, weight_name
from layersig.models.load import check_model, load_model
from layersig.models.tensors import stored_tensors, widest_dtype
from layersig.pruning.surgery import write_pruned
from tests.tiny import save_tiny, tiny_batch, tiny_model

Q = "model.layers.0.self_attn.q_proj.weight"


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a checkpoint of one file."""
    tensors = load_file(folder / "model.safetensors")
    tensors = change(tensors) or tensors  # type: ignore[assignment]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **changes: object) -> None:
    """Change config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def is_norm(name: str) -> bool:
    return "norm" in name or "ln_" in name


def mixed(narrow: torch.dtype, wide: torch.dtype) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Norms in `wide`, all else in `narrow`, neither a rounded copy of the other."""
    return lambda tensors: {
        name: (value.double() + 1e-9).to(wide if is_norm(name) else narrow) for name, value in tensors.items()
    }


TYPES = {
    "all-float32": (mixed(torch.float32, torch.float32), "bfloat16"),
    "norms-float32": (mixed(torch.bfloat16, torch.float32), "bfloat16"),
    "norms-bfloat16": (mixed(torch.float32, torch.bfloat16), "float32"),
    "all-bfloat16": (mixed(torch.bfloat16, torch.bfloat16), "float32"),
    "halves": (mixed(torch.float16, torch.bfloat16), "float16"),
    "float64": (mixed(torch.float64, torch.float32), "float32"),
    "nothing-declared": (mixed(torch.bfloat16, torch.float32), None),
}


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe"])
def test_pruning_keeps_every_tensor_as_it_is_stored(architecture: str, types: str, tmp_path: Path) -> None:
    source = save_tiny(tmp_path / "source", architecture)
    change, declared = TYPES[types]
    rewrite(source, change)
    configure(source, dtype=declared)
    write_pruned(source, [1], tmp_path / "pruned")
    due = {
        name.replace("layers.2.", "layers.1."): value
        for name, value in load_file(source / "model.safetensors").items()
        if "layers.1." not in name
    }
    found = load_file(tmp_path / "pruned" / "model.safetensors")
    assert found.keys() == due.keys()
    for name, value in due.items():
        assert found[name].dtype is value.dtype, name
        assert found[name].view(torch.uint8).equal(value.view(torch.uint8)), name
    declares = json.loads((tmp_path / "pruned" / "config.json").read_text())["dtype"]
    assert declares == str(widest_dtype(stored_tensors(source).values())).removeprefix("torch.")


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_norms_of_a_difference_are_those_of_the_stored_numbers(architecture: str, types: str, tmp_path: Path) -> None:
    change, declared = TYPES[types]
    folders = [tmp_path / "before", tmp_path / "after"]
    for folder in folders:
        save_tiny(folder, architecture)
        configure(folder, dtype=declared)
    noise = torch.Generator().manual_seed(0)
    rewrite(
        folders[1],
        lambda tensors: {
            k: v + 1e-3 * v.abs().mean() * torch.randn(v.shape, generator=noise) for k, v in tensors.items()
        },
    )
    for folder in folders:
        rewrite(folder, change)
    layers = layer_map_of_checkpoint(folders[0])
    update = difference(*folders, layers).update
    before, after = (
        {name: value.double().numpy() for name, value in load_file(folder / "model.safetensors").items()}
        for folder in folders
    )
    for layer in layers:
        due = np.linalg.norm(after[weight_name(layer)] - before[weight_name(layer)])
        assert update.norm(layer.name) == pytest.approx(due, rel=1e-6)


def test_two_files_of_different_types_are_compared_in_the_wider(tmp_path: Path) -> None:
    for name in ("before", "after"):
        save_tiny(tmp_path / name)
    rewrite(tmp_path / "before", lambda tensors: {name: value.bfloat16() for name, value in tensors.items()})
    found = difference(tmp_path / "before", tmp_path / "after", layer_map_of_checkpoint(tmp_path / "before"))
    due = tiny_model("llama").get_parameter(Q)
    assert found.update.norm(Q.removesuffix(".weight")) == pytest.approx(float((due - due.bfloat16().float()).norm()))
    assert found.others == (
        "model.embed_tokens.weight",
        *(name for name in found.others if name != "model.embed_tokens.weight"),
    )


def test_models_of_other_origin_are_far_apart(tmp_path: Path) -> None:
    for seed in (0, 1):
        save_tiny(tmp_path / str(seed), seed=seed)
    found = difference(tmp_path / "0", tmp_path / "1", layer_map_of_checkpoint(tmp_path / "0"))
    assert found.relative == pytest.approx(2**0.5, rel=0.05)


def put(**tensors: Tensor) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda held: held | {name.replace("__", "."): value for name, value in tensors.items()}


ATTENTION = "model__layers__0__self_attn__"
ONES = torch.ones(4)
PACKED = {
    "fp8-scale": (put(**{f"{ATTENTION}q_proj__weight_scale_inv": ONES}), "scales of quantised weights"),
    "fp8-static": (put(**{f"{ATTENTION}q_proj__input_scale": ONES}), "scales of quantised weights"),
    "gptq": (put(**{f"{ATTENTION}q_proj__qzeros": ONES.int()}), "stored as I32.*GPTQ or AWQ"),
    "awq-scales": (put(**{f"{ATTENTION}q_proj__scales": ONES}), "GPTQ or AWQ"),
    "bitsandbytes": (put(**{f"{ATTENTION}q_proj__weight__absmax": ONES}), "bitsandbytes"),
    "int8": (lambda held: held | {Q: held[Q].to(torch.int8)}, "stored as I8"),
    "fp8": (lambda held: held | {Q: held[Q].to(torch.float8_e4m3fn)}, "stored as F8_E4M3"),
    "compressed": (put(**{f"{ATTENTION}q_proj__weight_packed": ONES.int()}), "stored as I32.*compressed-tensors"),
    "hqq": (put(**{f"{ATTENTION}q_proj__W_q": ONES.to(torch.uint8)}), "stored as U8.*HQQ"),
    "torchao": (put(**{f"{ATTENTION}q_proj___weight_qdata": ONES}), "torchao"),
    "mxfp4": (put(model__layers__0__mlp__experts__down_proj_scales=ONES), "MXFP4"),
    "lora": (put(**{f"{ATTENTION}q_proj__lora_A__default__weight": ONES}), "an adapter .*merge it"),
    "value-head": (put(v_head__summary__weight=ONES), "leaves out weights .* v_head.summary.weight"),
    "another-block": (put(model__layers__9__mlp__up_proj__weight=ONES), "leaves out weights .* model.layers.9"),
    "other-rotary": (put(**{f"{ATTENTION}rotary_emb__cos_cached": torch.ones(8)}), "leaves out .*cos_cached"),
    "unknown-gate": (put(model__gate=ONES), "leaves out weights .* model.gate"),
    "nan": (lambda held: held | {Q: held[Q] * float("nan")}, f"not finite .* in {Q}"),
    "infinite": (lambda held: held | {Q: held[Q] / 0}, f"not finite .* in {Q}"),
}


@pytest.mark.parametrize("case", PACKED)
def test_what_a_plain_load_would_misread_is_refused_by_name(case: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path)
    change, message = PACKED[case]
    rewrite(folder, change)
    with pytest.raises(UserError, match=message) as refused:
        load_model(folder, dtype=torch.float32, device="cpu")
    assert str(folder) in str(refused.value)
    if case not in ("nan", "infinite"):  # headers do not show values
        with pytest.raises(UserError, match=message):
            check_model(folder)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "base_model.model.", "wrapped.in.this."])
def test_the_prefix_of_a_wrapper_is_named(prefix: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path)
    rewrite(folder, lambda tensors: {f"{prefix}{name}": value for name, value in tensors.items()})
    with pytest.raises(UserError, match=f"start with '{prefix}', which a wrapper left there"):
        check_model(folder)


def old_gpt2(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = torch.ones(1, 1, 256, 256).tril().to(torch.uint8)
    more = {f"transformer.h.{block}.attn.bias": mask.clone() for block in range(3)}
    return tensors | more | {f"transformer.h.{block}.attn.masked_bias": torch.tensor(-1e4) for block in range(3)}


def old_llama(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    frequencies = 1 / 10000 ** (torch.arange(0, 8, 2) / 8)
    more = {f"model.layers.{block}.self_attn.rotary_emb.inv_freq": frequencies.bfloat16() for block in range(3)}
    return tensors | more | {"model.position_ids": torch.arange(64)[None]}


def older_llama(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    angles = torch.outer(torch.arange(64).float(), (1 / 10000 ** (torch.arange(0, 8, 2) / 8)).repeat(2))[None, None]
    path = "model.layers.1.self_attn.rotary_emb"
    return tensors | {f"{path}.cos_cached": angles.cos().half(), f"{path}.sin_cached": angles.sin().half()}


def old_neox(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()
    more = {f"gpt_neox.layers.{block}.attention.bias": mask.clone() for block in range(3)}
    return tensors | more | {f"gpt_neox.layers.{block}.attention.masked_bias": torch.tensor(-1e9) for block in range(3)}


def bare_gpt2(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("transformer."): value for name, value in old_gpt2(tensors).items()}


@pytest.mark.parametrize(
    ("architecture", "change"),
    [("gpt2", old_gpt2), ("gpt2", bare_gpt2), ("llama", old_llama), ("llama", older_llama), ("gpt_neox", old_neox)],
)
def test_tables_that_old_checkpoints_store_are_harmless(
    architecture: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path
) -> None:
    folder = save_tiny(tmp_path / "source", architecture)
    rewrite(folder, change)
    check_model(folder)
    model = load_model(folder, dtype=torch.float32, device="cpu")
    assert torch.equal(model(tiny_batch()).logits, tiny_model(architecture)(tiny_batch()).logits)
    write_pruned(folder, [1], tmp_path / "pruned")
    assert layer_map_of_checkpoint(tmp_path / "pruned").blocks == layer_map_of_checkpoint(folder).blocks[:2]


@pytest.mark.parametrize(
    ("architecture", "tensor"),
    [
        ("llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.tensor([1.0, 0.3, 0.1, 0.03])}),
        ("mistral", {"model.layers.2.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
        ("llama", {"model.rotary_emb.inv_freq": 1 / 5e5 ** (torch.arange(0, 8, 2) / 8)}),
        ("gpt_neox", {"gpt_neox.rotary_emb.inv_freq": torch.zeros(1)}),
    ],
)
def test_a_table_that_contradicts_the_configuration_is_refused(
    architecture: str, tensor: dict[str, Tensor], tmp_path: Path
) -> None:
    folder = save_tiny(tmp_path, architecture)
    rewrite(folder, lambda tensors: tensors | tensor)
    with pytest.raises(UserError, match=f"{next(iter(tensor))} holds other values than config.json gives"):
        load_model(folder, dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_a_tie_that_the_file_contradicts_is_refused(architecture: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, architecture, tied=True)
    embedding = "transformer.wte.weight" if architecture == "gpt2" else "model.embed_tokens.weight"
    rewrite(folder, lambda tensors: tensors | {"lm_head.weight": tensors[embedding] * 1.01})
    for read in (check_model, lambda path: load_model(path, dtype=torch.float32, device="cpu")):
        with pytest.raises(
            UserError, match=r"lm_head\.weight and .* are one weight .* set tie_word_embeddings = false"
        ):
            read(folder)
    rewrite(folder, lambda tensors: tensors | {"lm_head.weight": tensors[embedding].clone()})
    model = load_model(folder, dtype=torch.float32, device="cpu")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    configure(folder, tie_word_embeddings=False)
    check_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names.update({"model.lost.weight": next(iter(names.values()))}), "model.lost.weight is not in"),
        (lambda names: names.update({Q: "../model.safetensors"}), "not an index of weights"),
        (lambda names: names.update({Q: 5}), "not an index of weights"),
        (lambda names: names.clear(), "not an index of weights"),
        (lambda names: names.update({Q: "model-9.safetensors"}), "model-9.safetensors: no such file"),
    ],
)
def test_an_index_that_contradicts_the_files_is_refused(
    change: Callable[[dict[str, object]], object], message: str, tmp_path: Path
) -> None:
    tiny_model("llama").save_pretrained(tmp_path, max_shard_size="50KB")
    index = tmp_path / "model.safetensors.index.json"
    value = json.loads(index.read_text())
    change(value["weight_map"])
    index.write_text(json.dumps(value))
    with pytest.raises(UserError, match=message):
        stored_tensors(tmp_path)


def test_an_adapter_beside_weights_is_refused(tmp_path: Path) -> None:
    (save_tiny(tmp_path) / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="nothing says whether the adapter is merged"):
        load_model(tmp_path, dtype=torch.float32, device="cpu")
