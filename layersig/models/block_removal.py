"""Takes blocks out of a model, for good or for a while, so that what is left is a correct model of its architecture.

A block knows its number (its place in the KV cache), a configuration may say something of every block (attention
types), name some (dense among sparse) or count them, and a matrix outside of the blocks may hold a stretch for each
(per-layer embeddings). All of that follows the blocks that stay. The model that the shortened configuration describes
is built without weights and compared with what is left, block by block: where the two differ, the removal is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from layersig.errors import UserError, one_line
from layersig.models.layermap import block_list

_LISTS_OF_BLOCKS = ("layers", "indices", "idxs")
_COUNTS_OF_FIRST_BLOCKS = ("first_k_dense_replace", "max_window_layers", "moe_layer_start_index", "num_dense_layers")
_COUNTS_OF_LAST_BLOCKS = ("num_kv_shared_layers",)
_DEPTHS = ("num_blocks", "decoder_layers")
_NO_BLOCKS = ("architectures", "token_id", "token_ids")
_OTHER_BLOCKS = "mtp_"
# Where a configuration of transformers keeps what it says of single blocks.
_PER_LAYER = "_heterogeneity_spec"


@dataclass(frozen=True, slots=True)
class Stretches:
    """A tensor outside of the blocks that holds a stretch of equal width for every block along one axis."""

    axis: int
    depth: int

    def of(self, tensor: Tensor, keep: Sequence[int]) -> Tensor:
        """The stretches of the blocks `keep`, in their order."""
        parts = tensor.chunk(self.depth, self.axis)
        return torch.cat([parts[place] for place in keep], self.axis)


@dataclass(frozen=True, slots=True)
class Removal:
    """What taking blocks out of a model came down to.

    Attributes:
        prefix: Name of the list of blocks.
        keep: Numbers of the blocks that stay, ascending.
        depth: Number of blocks before.
        stretches: Tensors outside of the blocks that lose stretches, by name.
    """

    prefix: str
    keep: tuple[int, ...]
    depth: int
    stretches: Mapping[str, Stretches]


def remove_blocks(model: PreTrainedModel, removed: Collection[int]) -> Removal:
    """Take blocks out of `model` in place; its configuration then describes what is left.

    Args:
        model: A decoder without adapters.
        removed: Numbers of blocks, from 0.

    Raises:
        UserError: No block would be left, or the architecture cannot express what would be left.
    """
    with ExitStack() as undoing:
        removal = _remove(model, removed, undoing)
        undoing.pop_all()
    return removal


@contextmanager
def without_blocks(model: PreTrainedModel, removed: Collection[int]) -> Iterator[None]:
    """Within this context `model` lacks blocks, KV caches included; afterwards it is as before.

    Args and errors as `remove_blocks`.
    """
    with ExitStack() as undoing:
        _remove(model, removed, undoing)
        yield


def _remove(model: PreTrainedModel, removed: Collection[int], undoing: ExitStack) -> Removal:
    prefix, blocks = block_list(model)
    depth = len(blocks)
    strange = sorted(place for place in removed if not 0 <= place < depth)
    if strange:
        raise UserError(f"the model has blocks 0 to {depth - 1}; there is no block {strange[0]}")
    keep = tuple(place for place in range(depth) if place not in removed)
    if not keep:
        raise UserError("no block would be left of the model; remove fewer")
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        raise UserError(
            f"{model.config.model_type} scales attention by the number of the block (scale_attn_by_inverse_layer_idx), "
            "so a block cannot be removed without changing those behind it"
        )
    _shorten(model, config, depth, keep, undoing)
    described = _described(model)
    parent, _, name = prefix.rpartition(".")
    _set(model.get_submodule(parent), name, nn.ModuleList([blocks[place] for place in keep]), undoing)
    for number, (place, due) in enumerate(zip(keep, described.get_submodule(prefix), strict=True)):
        _renumber(blocks[place], due, place, number, depth, len(keep), undoing)
        if getattr(model, "hf_quantizer", None) is None:  # a quantised block has modules of its own
            _compare(model, f"{prefix}.{number}", blocks[place], due)
    stretches = _cut_stretches(model, described, prefix, depth, keep, undoing)
    return Removal(prefix, keep, depth, stretches)


def _shorten(
    model: PreTrainedModel, config: PretrainedConfig, depth: int, keep: Sequence[int], undoing: ExitStack
) -> None:
    """Let a configuration describe the blocks `keep`: all keys at once, since some are derived from others."""
    own = config.to_dict()
    names = config.attribute_map
    changes = {names.get(key, key): value for key, value in shortened(own, depth, keep).items()}
    try:
        shorter = vars(type(config).from_dict({**own, **changes}))
    except Exception as error:  # values that do not go together bring errors of every kind
        raise UserError(f"{model.config.model_type}: blocks cannot be removed ({one_line(error)})") from error
    before = dict(vars(config))
    # What a configuration knows of its use (the attention kernel, where it came from) stays.
    public = {key: value for key, value in shorter.items() if not key.startswith("_") or key == _PER_LAYER}
    after = {key: value for key, value in before.items() if key != _PER_LAYER} | public

    def restore() -> None:
        vars(config).clear()
        vars(config).update(before)

    undoing.callback(restore)
    vars(config).clear()
    vars(config).update({key: before[key] if before.get(key) == value else value for key, value in after.items()})


def _described(model: PreTrainedModel) -> PreTrainedModel:
    """The model that a configuration describes when it is read back, without weights."""
    config: PretrainedConfig = model.config
    try:
        with torch.device("meta"):
            # As it is read back: some configurations derive keys from others.
            described: PreTrainedModel = AutoModelForCausalLM.from_config(type(config).from_dict(config.to_dict()))
    except Exception as error:  # values that do not go together bring errors of every kind
        raise UserError(f"{config.model_type}: blocks cannot be removed ({one_line(error)})") from error
    return described


def _set(owner: Any, name: str, value: Any, undoing: ExitStack) -> None:
    undoing.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


def _renumber(
    block: nn.Module, due: nn.Module, place: int, number: int, depth: int, kept: int, undoing: ExitStack
) -> None:
    """Tell a block its new number and how many blocks there are, under whatever names its modules keep them."""
    others = dict(due.named_modules())
    for name, module in block.named_modules():
        theirs = _settings(others.get(name))
        for key, value in _settings(module).items():
            if type(value) is int and (value, theirs.get(key)) in ((place, number), (depth, kept)):
                _set(module, key, theirs[key], undoing)


def _settings(module: nn.Module | None) -> dict[str, Any]:
    """Plain settings of a module."""
    return {
        key: value
        for key, value in (vars(module) if module is not None else {}).items()
        if isinstance(value, bool | int | float | str) and not key.startswith("_") and key != "training"
    }


def _compare(model: PreTrainedModel, name: str, block: nn.Module, due: nn.Module) -> None:
    """Refuse a removal after which a block would be read back as another.

    Raises:
        UserError: It names what differs.
    """
    own, theirs = _structure(block), _structure(due)
    for key in sorted(own.keys() | theirs.keys()):
        if own.get(key) != theirs.get(key):
            raise UserError(
                f"{model.config.model_type}: blocks cannot be removed, because its configuration cannot say that "
                f"{name} has {key} = {own.get(key)!r} (it would be {theirs.get(key)!r})"
            )


def _structure(block: nn.Module) -> dict[str, Any]:
    """Classes, shapes and plain settings of a block."""
    found: dict[str, Any] = {}
    for name, module in block.named_modules():
        found[name] = type(module).__name__
        found |= {f"{name}.{key}": tuple(value.shape) for key, value in module.named_parameters(recurse=False)}
        found |= {f"{name}.{key}": value for key, value in _settings(module).items()}
    return found


def _cut_stretches(
    model: PreTrainedModel,
    described: PreTrainedModel,
    prefix: str,
    depth: int,
    keep: Sequence[int],
    undoing: ExitStack,
) -> dict[str, Stretches]:
    """Cut what lies outside of the blocks and is as long as they are many."""
    found: dict[str, Stretches] = {}
    own = dict(model.named_modules(remove_duplicate=False))
    for name, due in described.named_modules(remove_duplicate=False):
        if f"{name}.".startswith(f"{prefix}.") or name not in own:
            continue
        module = own[name]
        tensors = dict(due.named_parameters(recurse=False)) | dict(due.named_buffers(recurse=False))
        for key, tensor in tensors.items():
            before: Tensor = getattr(module, key)
            packed = getattr(before, "quant_state", None)
            shape = before.shape if packed is None else packed.shape
            if shape == tensor.shape:
                continue
            stretches = _stretches(shape, tensor.shape, depth, len(keep))
            if stretches is None:
                raise UserError(
                    f"{model.config.model_type}: blocks cannot be removed, because {name}.{key} would have the shape "
                    f"{tuple(tensor.shape)} instead of {tuple(shape)}, and what to leave out is not known"
                )
            if packed is not None:
                raise UserError(
                    f"{model.config.model_type}: blocks cannot be removed, because {name}.{key} holds a stretch for "
                    'each of them and is quantised; set model.quantization to "none"'
                )
            cut = stretches.of(before.detach(), keep)
            _set(module, key, nn.Parameter(cut, before.requires_grad) if key in module._parameters else cut, undoing)
            found[f"{name}.{key}" if name else key] = stretches
        theirs = _settings(due)
        for key, value in _settings(module).items():
            if key in theirs and theirs[key] != value:
                _set(module, key, theirs[key], undoing)
    return found


def _stretches(before: Sequence[int], after: Sequence[int], depth: int, kept: int) -> Stretches | None:
    axes = [axis for axis, (one, other) in enumerate(zip(before, after, strict=False)) if one != other]
    if len(before) != len(after) or len(axes) != 1:
        return None
    (axis,) = axes
    fits = before[axis] % depth == 0 and after[axis] == before[axis] // depth * kept
    return Stretches(axis, depth) if fits else None


def shortened(config: Mapping[str, Any], depth: int, keep: Sequence[int]) -> dict[str, Any]:
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
        elif key in _COUNTS_OF_LAST_BLOCKS and isinstance(value, int):
            changed[key] = sum(place >= depth - value for place in keep)
        elif key in _DEPTHS and value == depth:
            changed[key] = len(keep)
        elif key.startswith(_OTHER_BLOCKS):
            continue
        elif isinstance(value, dict) and _is_mapping_of_blocks(key, value, depth):
            changed[key] = {number[int(place)]: each for place, each in value.items() if int(place) in number}
        elif isinstance(value, str) and key.endswith("pattern") and len(value) == depth:
            changed[key] = "".join(value[place] for place in keep)
        elif isinstance(value, list | tuple) and value and not key.endswith(_NO_BLOCKS):
            if key.endswith(_LISTS_OF_BLOCKS) and _is_list_of_blocks(value, depth):
                changed[key] = type(value)(number[place] for place in value if place in number)
            elif len(value) == depth:
                changed[key] = type(value)(value[place] for place in keep)
    if "attention_types" in config and "attention_layers" in changed:
        # The same list with its repetitions counted, from which the other is derived.
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


def _is_mapping_of_blocks(key: str, value: Mapping[Any, Any], depth: int) -> bool:
    """Whether a mapping says something of some blocks, by their numbers."""
    return "layer" in key and bool(value) and all(str(place).isdecimal() and int(place) < depth for place in value)
