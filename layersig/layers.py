"""What a layer is: its name, its place in the model, and how layers are grouped into units.

Numbers start at 0 and are always shown beside the module's full name. This module knows no torch, so that
recipes, selections and reports can name layers without loading a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from typing_extensions import TypedDict


class Part(StrEnum):
    """Where in the model a layer sits."""

    ATTENTION = "attention"
    MLP = "mlp"
    HEAD = "head"


class Unit(StrEnum):
    """What one score covers: a linear module, a whole block, or the attention or MLP part of a block."""

    MODULE = "module"
    BLOCK = "block"
    PART = "part"


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear module (or one fused expert parameter) of a decoder.

    Attributes:
        name: Full name in the Hugging Face model, such as `model.layers.0.self_attn.q_proj`.
        block: Index of the block, from 0; None for the output head.
        kind: Module type: the name without its block, such as `self_attn.q_proj`; `lm_head` for the head.
        part: Attention, MLP or head.
        parameters: Number of weights in it (biases not counted).
        shape: (out, in) features of a linear map; (experts, out, in) for fused expert parameters.
        is_parameter: True when the layer is an `nn.Parameter` of a module, not a module of its own.
    """

    name: str
    block: int | None
    kind: str
    part: Part
    parameters: int
    shape: tuple[int, ...]
    is_parameter: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """The layers that one score covers; with `Unit.MODULE` a group holds one layer and bears its name."""

    name: str
    block: int | None
    kind: str
    members: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Weights in all members together."""
        return sum(layer.parameters for layer in self.members)


class LayerForm(TypedDict):
    """A layer of `layers.json`."""

    name: str
    block: int | None
    kind: str
    part: Literal["attention", "mlp", "head"]
    parameters: int
    shape: list[int]
    is_parameter: bool


class LayerMapForm(TypedDict):
    """`layers.json`."""

    layers: list[LayerForm]
    blocks: list[str]
    tied_head: bool


@dataclass(frozen=True)
class LayerMap(Sequence[Layer]):
    """Every layer of a model, in the order of the forward pass; the head, if it counts as a layer, is last.

    Attributes:
        layers: The layers in order.
        blocks: Names of the blocks in order, such as `model.layers.0`.
        tied_head: True when the output head shares its weight with the input embedding.
    """

    layers: tuple[Layer, ...]
    blocks: tuple[str, ...]
    tied_head: bool

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        """Layers keyed by their full name."""
        return {layer.name: layer for layer in self.layers}

    @property
    def names(self) -> tuple[str, ...]:
        """Full names in order."""
        return tuple(layer.name for layer in self.layers)

    def groups(self, unit: Unit) -> tuple[Group, ...]:
        """The layers grouped by `unit`, in order; every layer is in exactly one group."""
        if unit is Unit.MODULE:
            return tuple(Group(layer.name, layer.block, layer.kind, (layer,)) for layer in self.layers)
        grouped: dict[str, list[Layer]] = {}
        for layer in self.layers:
            grouped.setdefault(self._group_name(layer, unit), []).append(layer)
        return tuple(
            Group(
                name,
                members[0].block,
                "block" if unit is Unit.BLOCK and members[0].block is not None else str(members[0].part),
                tuple(members),
            )
            for name, members in grouped.items()
        )

    def _group_name(self, layer: Layer, unit: Unit) -> str:
        if layer.block is None:
            return layer.name
        block = self.blocks[layer.block]
        return block if unit is Unit.BLOCK else f"{block}.{layer.part}"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "blocks": list(self.blocks),
            "tied_head": self.tied_head,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerMap:
        """The map that `to_json` wrote."""
        layers = tuple(
            Layer(**{**layer, "part": Part(layer["part"]), "shape": tuple(layer["shape"])}) for layer in value["layers"]
        )
        return cls(layers, tuple(value["blocks"]), value["tied_head"])
