"""Finds the layers of a Hugging Face decoder by structure: no list of architectures, no class names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from layersig.errors import UserError, one_line
from layersig.layers import Layer, LayerMap, Part
from layersig.models.config import read_config

# An attention (or any other sequence mixer) is distinguished from an MLP by what its forward asks for.
_POSITION_WORDS = ("mask", "past", "cache", "position")
# Matrices that are no linear maps: those of these classes, and the state decay of state-space models.
_NOT_LINEAR = (nn.Embedding, nn.Conv1d, nn.Conv2d)
_NOT_MAPS = ("A_log",)
_OTHER_SENSES = re.compile("vision|visual|image|audio|speech")


def layer_map(model: PreTrainedModel, *, head: bool = False) -> LayerMap:
    """The layers of `model`, which may lie on the meta device.

    A layer is a linear module of a block (`nn.Linear` and its subclasses, such as those of bitsandbytes, and the
    `Conv1D` of transformers) or a fused expert parameter of shape (experts, ., .). Routers of mixtures of experts and
    gates with a single output are never layers. Within a block, layers come in the order in which the model
    registers them.

    Args:
        model: A decoder without adapters.
        head: Whether the output head counts as a layer (the 225th of a 7B model in ILA, arXiv 2410.17875).

    Raises:
        UserError: The model is not a decoder made of a list of blocks, carries adapters, or holds a matrix whose
            meaning cannot be distinguished from its structure; the message names the module.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError(f"{_title(model)} is an encoder-decoder; only decoders (causal language models) are supported")
    if hasattr(model, "peft_config"):
        raise UserError(f"{_title(model)} carries a PEFT adapter; layers are those of the model without adapters")
    prefix, blocks = block_list(model)
    names = tuple(f"{prefix}.{index}" for index in range(len(blocks)))
    layers = [
        layer
        for index, (name, block) in enumerate(zip(names, blocks, strict=True))
        for layer in _layers_of_block(name, index, block)
    ]
    if not layers:
        raise UserError(f"the blocks {prefix}.* of {_title(model)} hold no linear module")
    if head:
        layers.append(_head(model))
    _refuse_shared_weights(model, layers)
    return LayerMap(tuple(layers), names, tied_head=has_tied_head(model))


def layer_map_of_checkpoint(path: Path, *, head: bool = False) -> LayerMap:
    """The layers of the checkpoint in folder `path`, from its configuration alone; no weight is read.

    Raises:
        UserError: As `layer_map`, and when the folder holds no readable configuration of a decoder.
    """
    return layer_map(model_of_configuration(path), head=head)


def model_of_configuration(path: Path, *, depth: int | None = None) -> PreTrainedModel:
    """The model that the configuration in folder `path` describes, on the meta device: shapes without values.

    Args:
        path: The folder.
        depth: Number of its first blocks that it has; all of them when None.

    Raises:
        UserError: The folder holds no readable configuration of a causal language model.
    """
    config = read_config(path)
    if depth is not None:
        text = config.get_text_config(decoder=True)
        text.num_hidden_layers = depth
        kinds = text.attribute_map.get("layer_types", "layer_types")
        if vars(text).get(kinds) is not None:  # elsewhere a property, which follows from other keys
            setattr(text, kinds, getattr(text, kinds)[:depth])
        if getattr(text, "num_kv_shared_layers", 0):
            text.num_kv_shared_layers = 0  # counted from the last block, so that the first ones have their own
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # values that do not go together bring errors of every kind
        raise UserError(
            f"{path / 'config.json'}: transformers cannot build the model it describes ({one_line(error)})"
        ) from error
    return model


def has_tied_head(model: PreTrainedModel) -> bool:
    """Whether the output head and the input embedding are one weight."""
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def layer_parameter(model: PreTrainedModel, layer: Layer) -> nn.Parameter:
    """The weight of `layer` as the model stores it: `Conv1D` and some fused experts store (..., in, out).

    Raises:
        UserError: The weight is stored in packed (quantised) form.
    """
    weight: nn.Parameter = model.get_parameter(weight_name(layer))
    if weight.numel() != layer.parameters or not weight.is_floating_point():
        raise UserError(f"{layer.name} is quantised; load the model without quantization to read or train its weight")
    return weight


def layer_weight(model: PreTrainedModel, layer: Layer) -> Tensor:
    """The weight of `layer` in the orientation of `layer.shape`: (out, in), or (experts, out, in); a view, no copy.

    Raises:
        UserError: The weight is stored in packed (quantised) form.
    """
    weight: Tensor = layer_parameter(model, layer)
    owner = model.get_submodule(weight_name(layer).rpartition(".")[0])
    return weight.mT if isinstance(owner, Conv1D) or (layer.is_parameter and _is_transposed(owner)) else weight


def weight_name(layer: Layer) -> str:
    """Name of the parameter that holds the weight of `layer`."""
    return layer.name if layer.is_parameter else f"{layer.name}.weight"


def _title(model: PreTrainedModel) -> str:
    return f"{type(model).__name__} ({model.config.model_type})"


def block_list(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The outermost module list with as many entries as the configuration says blocks, the largest if several."""
    depth = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    found: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        nested = any(name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, nn.ModuleList) and len(module) == depth and not nested:
            found.append((name, module))
    if not found:
        raise UserError(
            f"{_title(model)} has no list of {depth} blocks (num_hidden_layers): it is not a decoder whose layers "
            "can be found"
        )
    # An encoder of images or sounds may have as many blocks as the decoder.
    found = [entry for entry in found if not _OTHER_SENSES.search(entry[0])] or found
    prefix, blocks = max(found, key=lambda entry: sum(parameter.numel() for parameter in entry[1].parameters()))
    parent = prefix.rpartition(".")[0]
    for name, other in found:
        beside = other is not blocks and name.rpartition(".")[0] == parent
        # A list of mere linear modules holds no parts of blocks.
        if beside and any(map(_linear_shape, other.modules())) and not all(map(_linear_shape, other)):
            raise UserError(f"{_title(model)} splits its blocks over {prefix} and {name}, which is not supported")
    return prefix, blocks


def _refuse_shared_weights(model: PreTrainedModel, layers: list[Layer]) -> None:
    names: dict[nn.Parameter, str] = {}
    for layer in layers:
        weight = model.get_parameter(weight_name(layer))
        if weight in names:
            raise UserError(f"{layer.name} and {names[weight]} share one weight, so they cannot be separate layers")
        names[weight] = layer.name


def _layers_of_block(block_name: str, index: int, block: nn.Module) -> Iterator[Layer]:
    routers, holders = _mixtures(block)
    for path, module in block.named_modules():
        if module in routers:
            continue
        part = Part.ATTENTION if _mixes_positions(block, path) else Part.MLP
        if shape := _linear_shape(module):
            yield Layer(f"{block_name}.{path}", index, path, part, shape[0] * shape[1], shape)
            continue
        for name, parameter in _matrices(module):
            kind = f"{path}.{name}" if path else name
            if parameter.ndim == 3 and module in holders:
                experts, out_features, in_features = parameter.shape
                if _is_transposed(module):
                    out_features, in_features = in_features, out_features
                yield Layer(
                    f"{block_name}.{kind}",
                    index,
                    kind,
                    part,
                    parameter.numel(),
                    (experts, out_features, in_features),
                    is_parameter=True,
                )
            elif module not in holders:
                raise UserError(
                    f"{block_name}.{kind} is a matrix of shape {tuple(parameter.shape)} in a {type(module).__name__}, "
                    "which is no linear module that is known; models with such modules are not supported"
                )


def _linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """(out, in) of a linear module; not read from the weight, which is packed in a quantised one."""
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    if isinstance(module, Conv1D):
        return int(module.nf), int(module.nx)
    return None


def _matrices(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Own parameters of `module` that are linear maps or may be; an axis of length 1 does not make a matrix."""
    if isinstance(module, _NOT_LINEAR):
        return
    for name, parameter in module.named_parameters(recurse=False):
        is_matrix = sum(size > 1 for size in parameter.shape) > 1 or _linear_shape(module) is not None
        if is_matrix and parameter.ndim > 1 and name not in _NOT_MAPS:
            yield name, parameter


def _is_transposed(experts: nn.Module) -> bool:
    """Whether expert parameters are stored as (experts, in, out); transformers and PEFT read the same attribute."""
    return bool(getattr(experts, "is_transposed", False))


def _experts_in(module: nn.Module) -> int:
    """How many experts `module` itself holds: as the first axis of its parameters, or as a list of modules."""
    for parameter in module.parameters(recurse=False):
        if parameter.ndim == 3 and not isinstance(module, _NOT_LINEAR):
            return int(parameter.shape[0])
    return len(module) if isinstance(module, nn.ModuleList) else 0


def _mixtures(block: nn.Module) -> tuple[set[nn.Module], set[nn.Module]]:
    """The routers of `block`, and the modules whose experts they choose among.

    A router lies beside experts and holds one matrix with a row an expert. So does the gate of a shared expert, with
    a single row.
    """
    routers: set[nn.Module] = set()
    holders: set[nn.Module] = set()
    for parent in block.modules():
        counts = {child: _experts_in(child) for child in parent.children()}
        experts = max(counts.values(), default=0)
        for child in (child for child, count in counts.items() if experts and not count):
            weights = [(module, parameter) for module in child.modules() for _, parameter in _matrices(module)]
            if len(weights) == 1 and weights[0][1].shape[0] in (experts, 1):
                routers.add(weights[0][0])
                holders |= {holder for holder, count in counts.items() if count}
    return routers, holders


def _mixes_positions(block: nn.Module, path: str) -> bool:
    """Whether a module between the block and `path` asks for a mask, a cache or positions."""
    module = block
    for child in path.split(".") if path else ():
        module = module.get_submodule(child)
        if any(word in name for name in inspect.signature(module.forward).parameters for word in _POSITION_WORDS):
            return True
    return False


def _head(model: PreTrainedModel) -> Layer:
    module = model.get_output_embeddings()
    if module is None or (shape := _linear_shape(module)) is None:
        raise UserError(f"{_title(model)} has no linear output head, so the head cannot count as a layer")
    name = next(name for name, candidate in model.named_modules() if candidate is module)
    return Layer(name, None, name, Part.HEAD, shape[0] * shape[1], shape)
