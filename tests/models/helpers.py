"""Random updates and trained-looking adapters for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from layersig.layers import Layer, LayerMap
from layersig.models.adapters import inject_lora, remove_adapter, save_adapter
from layersig.models.updates import Delta, DenseUpdate, LowRankUpdate
from layersig.streams import Streams
from tests.tiny import tiny_batch

STREAMS = Streams(root=7, seed=1)


def low_rank_update(layers: LayerMap, *, rank: int = 3) -> LowRankUpdate:
    """Random factors for every layer."""

    def draw(index: int, layer: Layer) -> Delta:
        generator = torch.Generator().manual_seed(index)
        *experts, out_features, in_features = layer.shape
        b = 0.2 * torch.randn(*experts, out_features, rank, generator=generator)
        return Delta(b, 0.2 * torch.randn(*experts, rank, in_features, generator=generator), scale=0.5)

    return LowRankUpdate({layer.name: draw(index, layer) for index, layer in enumerate(layers)})


def dense_update(layers: LayerMap) -> DenseUpdate:
    """A random difference for every layer."""
    return DenseUpdate(
        {
            layer.name: 0.05 * torch.randn(layer.shape, generator=torch.Generator().manual_seed(index))
            for index, layer in enumerate(layers)
        }
    )


def move(peft_model: PeftModel) -> None:
    """Give every factor random values, as training would: the same in every type and on every device."""
    for index, parameter in enumerate(parameter for parameter in peft_model.parameters() if parameter.requires_grad):
        drawn = torch.empty(parameter.shape).normal_(std=0.2, generator=torch.Generator().manual_seed(index))
        parameter.data.copy_(drawn)


def adapter_folder(model: PreTrainedModel, layers: Sequence[Layer], folder: Path, *, rank: int = 3) -> Tensor:
    """Save a moved adapter on `layers` in `folder`, leave `model` clean; returns the adapted logits on `tiny_batch`."""
    peft_model = inject_lora(model, layers, rank=rank, alpha=6, dropout=0.0, streams=STREAMS)
    move(peft_model)
    peft_model.eval()
    with torch.no_grad():
        logits: Tensor = peft_model(tiny_batch()).logits
    save_adapter(peft_model, folder, base_model="some/base", revision="abc")
    remove_adapter(peft_model)
    return logits


def state(model: PreTrainedModel) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def structure(model: PreTrainedModel) -> list[tuple[str, type, list[str], bool, list[bool]]]:
    """Everything about modules and parameters but their values."""
    return [
        (
            name,
            type(module),
            list(module._parameters),
            module.training,
            [parameter.requires_grad for parameter in module.parameters(recurse=False)],
        )
        for name, module in model.named_modules()
    ]


def assert_same_state(before: dict[str, Tensor], model: PreTrainedModel) -> None:
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
