"""Takes blocks out of a model, for good or for a while, so that what is left is a correct model of its architecture.

A block knows its number (its place in the KV cache), and a configuration may say something of every block (attention
types), name some (dense among sparse) or count them. All of that is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from layersig.errors import UserError, one_line
from layersig.models.layermap import block_list

_LISTS_OF_BLOCKS = ("layers", "indices", "idxs")
_COUNTS_OF_FIRST_BLOCKS = ("first_k_dense_replace", "max_window_layers", "moe_layer_start_index", "num_dense_layers")
_NUMBERS = frozenset({"layer_idx", "layer_id"})
_NO_BLOCKS = ("architectures", "token_id", "token_ids")


def remove_blocks(model: PreTrainedModel, removed: Collection[int]) -> None:
    """Take blocks out of `model` in place; its configuration then describes what is left.

    Args:
        model: A decoder without adapters.
        removed: Numbers of blocks, from 0.

    Raises:
        UserError: No block would be left, or the architecture cannot express what would be left.
    """
    for change in _changes(model, removed):
        change()
    _check(model)


@contextmanager
def without_blocks(model: PreTrainedModel, removed: Collection[int]) -> Iterator[None]:
    """Within this context `model` lacks blocks, KV caches included; afterwards it is as before.

    Args and errors as `remove_blocks`.
    """
    with ExitStack() as stack:
        for change in _changes(model, removed):
            stack.callback(change())
        yield


def _changes(model: PreTrainedModel, removed: Collection[int]) -> Iterator[Callable[[], Callable[[], None]]]:
    """What is to be done, each step giving back how to undo it."""
    prefix, blocks = block_list(model)
    strange = sorted(place for place in removed if not 0 <= place < len(blocks))
    if strange:
        raise UserError(f"the model has blocks 0 to {len(blocks) - 1}; there is no block {strange[0]}")
    keep = [place for place in range(len(blocks)) if place not in removed]
    if not keep:
        raise UserError("no block would be left of the model; remove fewer")
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        raise UserError(
            f"{model.config.model_type} scales attention by the number of the block (scale_attn_by_inverse_layer_idx), "
            "so a block cannot be removed without changing those behind it"
        )
    parent, _, name = prefix.rpartition(".")
    yield _setting(model.get_submodule(parent), name, nn.ModuleList([blocks[place] for place in keep]))
    for number, place in enumerate(keep):
        for module in blocks[place].modules():
            for attribute in _NUMBERS & vars(module).keys():
                if isinstance(getattr(module, attribute), int):
                    yield _setting(module, attribute, number)
    for key, value in mended(config.to_dict(), len(blocks), keep).items():
        yield _setting(config, key, value)


def _setting(owner: Any, name: str, value: Any) -> Callable[[], Callable[[], None]]:
    def set_it() -> Callable[[], None]:
        old = getattr(owner, name)
        setattr(owner, name, value)
        return lambda: setattr(owner, name, old)

    return set_it


def mended(config: Mapping[str, Any], depth: int, keep: Sequence[int]) -> dict[str, Any]:
    """The keys of a configuration that change when only the blocks `keep` stay, with their new values.

    Args:
        config: A configuration of Hugging Face as a mapping.
        depth: Number of blocks that it describes.
        keep: Numbers of the blocks that stay, ascending.
    """
    number = {place: new for new, place in enumerate(keep)}
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if key in _COUNTS_OF_FIRST_BLOCKS and isinstance(value, int):
            changed[key] = sum(place < value for place in keep)
        elif isinstance(value, list | tuple) and value and not key.endswith(_NO_BLOCKS):
            if key.endswith(_LISTS_OF_BLOCKS) and _is_list_of_blocks(value, depth):
                changed[key] = type(value)(number[place] for place in value if place in number)
            elif len(value) == depth:
                changed[key] = type(value)(value[place] for place in keep)
    if "attention_types" in config and "attention_layers" in changed:
        # The same list with its repetitions counted, from which the other is made anew.
        changed["attention_types"] = [[[kind], 1] for kind in changed["attention_layers"]]
    step = config.get("decoder_sparse_step")
    if isinstance(step, int) and step > 1:
        # Every step-th block is sparse: a rule of numbers, which the remaining blocks no longer follow.
        dense = {place for place in keep if (place + 1) % step} | set(config.get("mlp_only_layers") or ())
        changed |= {"decoder_sparse_step": 1, "mlp_only_layers": [number[each] for each in sorted(dense & set(keep))]}
    return {**changed, "num_hidden_layers": len(keep)}


def _is_list_of_blocks(values: Sequence[Any], depth: int) -> bool:
    """Whether a list names blocks, each once; a list of switches, one a block, repeats itself."""
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return len(numbers) == len(values) == len(set(numbers)) and all(0 <= value < depth for value in numbers)


def _check(model: PreTrainedModel) -> None:
    """Build the model from its mended configuration, without weights, and compare the blocks.

    Raises:
        UserError: A block would come out different from the one that stays.
    """
    config: PretrainedConfig = model.config
    try:
        with torch.device("meta"):
            # As it is read back: some configurations make keys anew from others.
            rebuilt = AutoModelForCausalLM.from_config(type(config).from_dict(config.to_dict()))
    except Exception as error:  # values that do not go together bring errors of every kind
        raise UserError(f"{config.model_type}: blocks cannot be removed ({one_line(error)})") from error
    (prefix, blocks), (_, others) = block_list(model), block_list(rebuilt)
    for number, (block, other) in enumerate(zip(blocks, others, strict=True)):
        found, due = _structure(other), _structure(block)
        if found != due:
            key = next(key for key in sorted(found.keys() | due.keys()) if found.get(key) != due.get(key))
            raise UserError(
                f"{config.model_type}: blocks cannot be removed, because its configuration cannot say that "
                f"{prefix}.{number} has {key} = {due.get(key)!r} (it would be {found.get(key)!r})"
            )


def _structure(block: nn.Module) -> dict[str, Any]:
    """Classes, shapes and plain settings of a block, but for its number."""
    found: dict[str, Any] = {}
    for name, module in block.named_modules():
        found[name] = type(module).__name__
        found |= {f"{name}.{key}": tuple(value.shape) for key, value in module.named_parameters(recurse=False)}
        found |= {
            f"{name}.{key}": value
            for key, value in vars(module).items()
            if isinstance(value, bool | int | float | str)
            and not key.startswith("_")
            and key not in _NUMBERS | {"training"}
        }
    return found
