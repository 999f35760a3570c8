"""Full fine-tuning of chosen layers: weights of their own while a model trains, and how the change lies on disk.

A stored change is one file, `dense_update.safetensors`: by layer name the float32 difference to the weight it started
from, in the orientation of the layer map, and in its header the type that the starting weights were held in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.distributed.sharding import whole
from layersig.distributed.world import world
from layersig.errors import UserError
from layersig.layers import Layer, LayerMap
from layersig.models.fit import check_finite
from layersig.models.layermap import layer_parameter, layer_weight, weight_name
from layersig.models.saving import save_model
from layersig.models.tensor_file import Later, later, write_tensors
from layersig.models.tensors import read_header
from layersig.models.updates import DenseUpdate, LazyTensors
from layersig.store.files import whole_folder

FILE = "dense_update.safetensors"

_BASE_DTYPE = "base_dtype"
_starts: WeakKeyDictionary[PreTrainedModel, dict[str, Tensor]] = WeakKeyDictionary()
"""What weights of a split model were before they were trained."""


@contextmanager
def trained_weights(model: PreTrainedModel, layers: Sequence[Layer]) -> Iterator[dict[str, nn.Parameter]]:
    """Within this context `model` computes with weights of its own in `layers`, and may train them.

    They are float32 (float64 in a float64 model) copies of the model's weights, cast to the model's type in every
    forward pass, so that steps smaller than a bfloat16 can hold are not lost; gradients arrive in float32. The model's
    own parameters are never touched.

    Yields:
        By layer name, parameters as the model stores them, without their biases.

    Raises:
        UserError: A weight is quantised, or is the embedding's as well.
    """
    if world().sharded:
        with _split_weights(model, layers) as split:
            yield split
        return
    embedding = model.get_input_embeddings().weight
    weights: dict[str, nn.Parameter] = {}
    with ExitStack() as hooks:
        for layer in layers:
            own = layer_parameter(model, layer)
            if own is embedding:
                raise UserError(
                    f"{layer.name} is tied: its weight is the embedding's too, and full fine-tuning of the head alone "
                    'is not defined; set layers.head = false, or train.method = "lora"'
                )
            start = own.detach().to(torch.promote_types(own.dtype, torch.float32), copy=True)
            weights[layer.name] = nn.Parameter(start)
            owner, _, attribute = weight_name(layer).rpartition(".")
            _substitute(model.get_submodule(owner), attribute, weights[layer.name], own.dtype, hooks)
        yield weights


@contextmanager
def _split_weights(model: PreTrainedModel, layers: Sequence[Layer]) -> Iterator[dict[str, nn.Parameter]]:
    """As `trained_weights`, of a model that is split among processes: its own weights are wide, and are trained."""
    weights = {layer.name: layer_parameter(model, layer) for layer in layers}
    _starts[model] = {name: weight.detach().to(model.dtype, copy=True) for name, weight in weights.items()}
    try:
        yield weights
    finally:
        with torch.no_grad():
            for name, start in _starts.pop(model).items():
                weights[name].grad = None
                weights[name].copy_(start)


def held_starts(model: PreTrainedModel) -> list[Tensor]:
    """What weights of a split model were before they were trained; of another one its own weights are that."""
    return list(_starts.get(model, {}).values())


@contextmanager
def own_parameters(model: PreTrainedModel, layers: Sequence[Layer]) -> Iterator[dict[str, Tensor]]:
    """The parameter of every layer, as the model stores it; of a head that is tied, a tensor of its own.

    Within this context the head computes with that tensor, which has the memory of the embedding, so that a gradient by
    it is that of the head alone, as updates of the head act on it alone.
    """
    embedding = model.get_input_embeddings().weight
    parameters: dict[str, Tensor] = {layer.name: layer_parameter(model, layer) for layer in layers}
    with ExitStack() as hooks:
        for layer in layers:
            if (shared := parameters[layer.name]) is embedding:
                parameters[layer.name] = shared.detach()
                owner, _, attribute = weight_name(layer).rpartition(".")
                _substitute(model.get_submodule(owner), attribute, parameters[layer.name], shared.dtype, hooks)
        yield parameters


def _substitute(owner: nn.Module, name: str, weight: Tensor, dtype: torch.dtype, hooks: ExitStack) -> None:
    # Python finds an attribute in an instance's `__dict__` before `nn.Module.__getattr__` looks into its parameters. A
    # tensor put there hides the parameter of the same name while the module's forward runs, so the gradient flows to
    # `weight` through the cast; the hook behind the forward takes it out again, after an exception too.
    def enter(module: nn.Module, _: Any) -> None:
        module.__dict__[name] = weight.to(dtype)

    def leave(module: nn.Module, *_: Any) -> None:
        module.__dict__.pop(name, None)

    hooks.callback(owner.register_forward_pre_hook(enter).remove)
    hooks.callback(owner.register_forward_hook(leave, always_call=True).remove)


def change(model: PreTrainedModel, layer: Layer, weight: Tensor) -> Tensor:
    """What `weight`, as the model stores it, differs by from the model's own: float32, oriented as the layer map."""
    start = _starts.get(model, {}).get(layer.name)
    start = layer_parameter(model, layer).detach() if start is None else start
    return whole(_oriented(model, layer, weight.detach() - start).float())


def _oriented(model: PreTrainedModel, layer: Layer, value: Tensor) -> Tensor:
    """From the orientation of storage to that of the layer map, or back."""
    turned = layer_weight(model, layer) is not layer_parameter(model, layer)
    return value.mT if turned else value


def write_update(update: DenseUpdate, folder: Path, *, base_dtype: torch.dtype) -> None:
    """Write an update to a folder, layer by layer; the folder is written completely or not at all.

    Args:
        update: Differences.
        folder: Target, replaced if it exists.
        base_dtype: The type of the weights that they are differences to.
    """
    tensors = update.tensors
    if isinstance(tensors, LazyTensors):
        found = {
            name: Later(torch.float32, shape, partial(tensors.make, name)) for name, shape in tensors.shapes.items()
        }
    else:
        found = {name: later(value) for name, value in tensors.items()}
    with whole_folder(folder) as temporary:
        write_tensors(temporary / FILE, found, {_BASE_DTYPE: str(base_dtype).removeprefix("torch.")})


def read_dense(folder: Path, layers: LayerMap) -> DenseUpdate:
    """The update that `write_update` wrote, in model order; a layer is read whenever it is asked for.

    Raises:
        UserError: It cannot be read, holds values that are not finite, or does not fit the model.
    """
    names = check_dense(folder, layers)

    def read(name: str) -> Tensor:
        with safe_open(folder / FILE, "pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
        return tensor

    tensors = LazyTensors({name: tuple(layers.by_name[name].shape) for name in names}, read)
    check_finite(folder / FILE, tensors.items())
    return DenseUpdate(tensors)


def check_dense(folder: Path, layers: LayerMap) -> list[str]:
    """Names of the layers that a stored update changes, in model order, from the header of its file.

    Raises:
        UserError: It cannot be read, or does not fit the model.
    """
    file = folder / FILE
    found = read_header(file)
    for name, tensor in found.items():
        if name not in layers.by_name:
            raise UserError(f"{file}: changes {name}, which is no layer of the model (a head counts only if asked for)")
        if tensor.shape != layers.by_name[name].shape:
            raise UserError(f"{file}: the change of {name} is {tensor.shape}, the layer {layers.by_name[name].shape}")
        if tensor.dtype is None:
            raise UserError(f"{file}: the change of {name} is stored as {tensor.kind}, which is no plain floating type")
    return [layer.name for layer in layers if layer.name in found]


def base_dtype(folder: Path) -> torch.dtype:
    """The type of the weights that a stored update starts from."""
    with safe_open(folder / FILE, "pt") as opened:
        dtype: torch.dtype = getattr(torch, opened.metadata()[_BASE_DTYPE])
    return dtype


def write_checkpoint(model: PreTrainedModel, layers: LayerMap, update: DenseUpdate, source: Path, folder: Path) -> None:
    """Write `model` with an update as a checkpoint that plain transformers loads.

    `folder` is written completely or not at all. Changed weights are stored in float32 as start + change, all others as
    `model` holds them, so that nothing of the update is lost; the configuration asks for float32 then.

    Args:
        model: The model that the update starts from, without adapters.
        layers: Its map.
        update: Changes of some of its layers.
        source: Folder that the tokenizer is copied from.
        folder: Target, replaced if it exists.
    """
    state = dict(model.state_dict())
    for name in update.layers:
        layer = layers.by_name[name]
        own = layer_parameter(model, layer).detach()
        wide = torch.promote_types(own.dtype, torch.float32)
        # On the CPU, where the file is written from: a device that holds the model need not hold it in float32 as well.
        state[weight_name(layer)] = own.to("cpu", wide) + _oriented(model, layer, update.tensors[name]).to("cpu", wide)
    dtype = model.config.dtype
    with whole_folder(folder) as temporary:
        try:
            save_model(model, source, temporary, state)
        finally:
            model.config.dtype = dtype
        _declare(temporary / "config.json", torch.promote_types(model.dtype, torch.float32))


def _declare(file: Path, dtype: torch.dtype) -> None:
    """Let a configuration ask for `dtype`, in which every stored weight is exact."""
    value = json.loads(file.read_text(encoding="utf-8"))
    value["dtype"] = str(dtype).removeprefix("torch.")
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
