"""Every architecture that `AutoModelForCausalLM` offers, in tiny, and what can be done with it.

`python -m tests.models.architectures` tries them all and writes `docs/architectures.md`; with names it prints the rows
of these alone.
"""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from layersig.errors import LayersigError, UserError, one_line
from layersig.fast.decoder import Decoder
from layersig.layers import LayerMap
from layersig.models.adapters import assert_moved, inject_lora, remove_adapter
from layersig.models.external_update import difference
from layersig.models.layermap import layer_map, layer_weight, model_of_configuration
from layersig.models.load import load_model
from layersig.planning.shapes import shapes
from layersig.pruning.surgery import write_pruned
from layersig.streams import Streams
from tests.tiny import VOCABULARY, tiny_batch, tiny_tokenizer

NAMES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
RAW = "raw error:"
PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"

_DEPTH = 4
_LARGEST = 3_000_000
# The first pattern that a key matches sets its value; sizes that no pattern knows are cut to `_SIZE`.
_SIZE, _LARGE = 32, 64
_HEADS = r"(num_attention_heads|n_heads?|num_heads|attention_heads|query_heads|mamba_heads)$"
_KEY_VALUE_HEADS = ("key_value_heads", "kv_heads")
_DERIVED = ("transformers_version", "architectures", "dtype", "model_type", "qk_head_dim", "per_layer_config")
_RULES: tuple[tuple[str, Any], ...] = (
    (r"is_decoder$", True),
    (r"num_kv_shared_layers$|num_nextn_predict_layers$|num_mtp_layers$", 0),
    (r"^(num_hidden_layers|n_layers?|num_layers|decoder_layers|encoder_layers|num_decoder_layers|depth)$", _DEPTH),
    (r"vocab_size", VOCABULARY),
    (r"(key_value_heads|kv_heads|kv_n_heads)$", 2),
    (_HEADS, 4),
    (r"^(hidden_size|d_model|n_embd|dim|embedding_size|hidden_dim|model_dim|embed_dim)$", _SIZE),
    (r"(head_?dim|head_size|(^|_)d_head|rotary_dim|d_kv|attention_key_dim)$", 8),
    (r"(intermediate_size|ffn_dim|d_ff|d_inner|n_inner|ffn_hidden_size|inner_dim)", 48),
    (r"(lora_rank|lora_dim|lora_rank_\w+)$", 8),
    (r"(num_experts|n_routed_experts|num_local_experts|moe_num_experts|n_experts|num_routed_experts)$", 4),
    (r"(experts_per_tok|moe_topk|top_k|moe_k|num_experts_per_token)$", 2),
    (r"(n_shared_experts|n_group|num_group|topk_group|num_groups|n_groups|ngroups|expand|num_hidden_groups)$", 1),
    (r"(position_embeddings|n_positions|n_ctx|seq_len|sequence_length|(target|source)_positions)$", 64),
    (r"(state_size|d_state|state_dim)$", 8),
    (r"chunk_size$", 16),
    (r"(budget|compress_ratio)$", 2),
    (r"(sliding_window|window_size|attention_window)$", 8),
)


def tiny_architecture(name: str, seed: int = 0) -> PreTrainedModel:
    """A random model of an architecture in eval mode, its sizes cut by rules that go by the names of its settings.

    Raises:
        Exception: No tiny instance can be built; of whatever kind the architecture raises.
    """
    kind = type(AutoConfig.for_model(name))
    full = kind()
    depth = getattr(full.get_text_config(decoder=True), "num_hidden_layers", None)
    errors: list[Exception] = []
    for ways in ((), ("lists",), ("absent",), ("lists", "absent"), ("lists", "rest")):
        try:
            return _random(kind(**dict(_changes(full.to_dict(), depth, ways))), seed)
        except Exception as error:
            errors.append(error)
    raise errors[0]


def _changes(settings: Mapping[str, Any], depth: int | None, ways: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Settings that make an architecture small.

    Args:
        settings: Its default configuration.
        depth: Number of blocks by default.
        ways: What is set beside sizes: `lists` with an entry for every block, sizes that are `absent`, and the `rest`
            as it is by default; without it an architecture may derive settings from others.
    """
    heads = {value for key, value in settings.items() if re.search(_HEADS, key)}
    for key, value in settings.items():
        rule = next((size for pattern, size in _RULES if re.search(pattern, key)), None)
        if key in _DERIVED:
            continue
        if isinstance(value, dict) and key.endswith("_config"):
            yield key, dict(_changes(value, depth, ways))
        elif isinstance(value, bool):
            if "rest" in ways or (rule is True and not value):
                yield key, value or rule is True
        elif re.search(r"token_(id|index)$", key):
            if isinstance(value, int):
                yield key, min(value, 3)
        elif key.endswith(_KEY_VALUE_HEADS) and value in heads:
            yield key, dict(_RULES)[_HEADS]
        elif rule is not None and isinstance(value, int) and value > 0:
            yield key, min(rule, value)
        elif rule is not None and value is None and "absent" in ways:
            yield key, rule
        elif isinstance(value, int) and value >= _LARGE:
            yield key, _SIZE
        elif "lists" in ways and isinstance(value, list) and depth and len(value) == depth:
            yield key, [rule if isinstance(rule, int) else each for each in (*value[: _DEPTH - 1], value[-1])]
        elif "rest" in ways:
            yield key, value


def _random(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
    if size > _LARGEST:
        raise ValueError(f"{size:,} parameters are left when it is shrunk")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            noise = torch.empty_like(parameter).normal_(std=0.1, generator=generator)
            parameter.copy_(noise if parameter.ndim > 1 else parameter + noise)
    logits = model(input_ids=tiny_batch(), use_cache=False).logits
    if logits.ndim != 3 or not logits.isfinite().all():
        raise ValueError("its logits are not finite")
    return model


@dataclass(frozen=True)
class Row:
    """What became of an architecture; a sentence where something is refused.

    Attributes:
        name: Its model type.
        layers: Number of layers found in 4 blocks.
        difference: The difference of two checkpoints.
        tunes: LoRA on all layers, one step.
        prunes: A block removed, and the rest read back.
        runs: What a plan and tasks ask of it; not on the page.
    """

    name: str
    layers: str
    difference: str = ""
    tunes: str = ""
    prunes: str = ""
    runs: str = ""


def survey(name: str, folder: Path) -> Row:
    """Try everything with one architecture.

    Raises:
        AssertionError: Something works and gives a wrong result.
    """
    try:
        model = tiny_architecture(name)
    except Exception as error:
        return Row(name, f"no tiny instance: {one_line(error)[:120]}")
    try:
        layers = layer_map(model)
    except UserError as error:
        return Row(name, str(error))
    for seed, place in ((0, "before"), (1, "after")):
        tiny_architecture(name, seed).save_pretrained(folder / place)
        tiny_tokenizer().save_pretrained(folder / place)
    return Row(
        name,
        str(len(layers)),
        _told(lambda: _differ(folder, layers)),
        _told(lambda: _tune(folder, layers)),
        _told(lambda: _prune(folder)),
        _told(lambda: _run(model, folder)),
    )


def _told(trial: Callable[[], None]) -> str:
    try:
        trial()
    except LayersigError as error:
        # A set is written in the order of the hashes of its texts, which differ from process to process.
        return re.sub(
            r"\{([^{}:]*)\}", lambda found: "{" + ", ".join(sorted(found[1].split(", "))) + "}", one_line(error)
        )
    except Exception as error:
        return f"{RAW} {type(error).__name__}: {one_line(error)}"
    return "yes"


def _differ(folder: Path, layers: LayerMap) -> None:
    update = difference(folder / "before", folder / "after", layers).update
    before, after = (load_model(folder / each, dtype=torch.float32, device="cpu") for each in ("before", "after"))
    for layer in layers:
        due = (layer_weight(after, layer) - layer_weight(before, layer)).double().norm().item()
        assert due > 0, layer.name
        assert abs(update.norm(layer.name) - due) <= 1e-6 * due, layer.name


def _tune(folder: Path, layers: LayerMap) -> None:
    model = load_model(folder / "before", dtype=torch.float32, device="cpu")
    before = model(input_ids=tiny_batch(), use_cache=False).logits
    peft_model = inject_lora(model, layers, rank=2, alpha=4, dropout=0.0, streams=Streams(root=0, seed=0))
    trained = [parameter for parameter in peft_model.parameters() if parameter.requires_grad]
    logits = peft_model(input_ids=tiny_batch(), use_cache=False).logits
    torch.testing.assert_close(logits, before)
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tiny_batch()[:, 1:].flatten()).backward()
    torch.optim.AdamW(trained, lr=0.01).step()
    assert_moved(peft_model, layers)
    remove_adapter(peft_model)


def _prune(folder: Path) -> None:
    write_pruned(folder / "before", [1], folder / "pruned")


def _run(model: PreTrainedModel, folder: Path) -> None:
    depth = shapes(folder / "before").depth
    assert len(layer_map(model_of_configuration(folder / "before", depth=depth - 1)).blocks) == depth - 1
    assert all(Decoder(model, fast=fast).pair_cost >= 0 for fast in (True, False))


def table(names: tuple[str, ...]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| architecture | layers in 4 blocks | difference of checkpoints | tunes | prunes |\n"
    yield "| --- | --- | --- | --- | --- |\n"
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            row = survey(name, Path(folder))
            cells = (row.layers, row.difference, row.tunes, row.prunes)
            said = (each.replace(f"{folder}/", "").replace("|", "\\|") for each in cells)
            yield f"| `{name}` | {' | '.join(said)} |\n"


_INTRODUCTION = f"""# Architectures

What layersig does with each architecture of `AutoModelForCausalLM` in transformers {transformers.__version__}, tried on
a random model of 4 blocks in float32. Models are shrunk by rules on the names of their settings. Architectures
that cannot be built this small are left out. The page is written by `python -m tests.models.architectures`.

- **layers**: how many layers are found, or why the architecture is refused
- **difference**: norms of the difference of two checkpoints are those of the stored tensors
- **tunes**: LoRA on every layer; one step moves all of them and nothing else
- **prunes**: a block is removed; transformers alone reads the rest back with no key missing or left over, and it
  computes what the original computes with that block skipped

"""


def main(names: tuple[str, ...]) -> None:
    """Write the page, or print the rows of some architectures."""
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if names:
        sys.stdout.writelines(table(names))
    else:
        PAGE.write_text(_INTRODUCTION + "".join(table(NAMES)), encoding="utf-8")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
