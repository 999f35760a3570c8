"""What training changed in each layer: low-rank factors or dense differences, behind one interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layersig.layers import Layer, LayerMap
from layersig.models.devices import wide
from layersig.models.layermap import layer_weight


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The change of one layer: `scale * b @ a`, or `scale * b` where there is no `a`.

    Attributes:
        b: (out, r) or (experts, out, r); without `a` the dense change, (out, in) or (experts, out, in).
        a: (r, in) or (experts, r, in); None for a dense change.
        scale: Factor on the product, such as alpha / r of LoRA.
    """

    b: Tensor
    a: Tensor | None = None
    scale: float = 1.0

    def dense(self) -> Tensor:
        """The change as a tensor of shape (out, in) or (experts, out, in)."""
        return self.scale * (self.b if self.a is None else self.b @ self.a)

    def norm(self) -> float:
        """Frobenius norm, in float64; of r x r products alone where there are factors: |BA|^2 = tr((B'B)(AA'))."""
        b = wide(self.b)
        if self.a is None:
            return abs(self.scale) * float(torch.linalg.vector_norm(b))
        a = wide(self.a)
        squared = float(((b.mT @ b) * (a @ a.mT).mT).sum())
        return abs(self.scale) * math.sqrt(max(squared, 0.0))

    def near(self, device: torch.device) -> Delta:
        """A copy on a GPU, which decomposes it sooner; this one for any other device."""
        return self.to(device, self.b.dtype) if device.type == "cuda" else self

    def to(self, device: torch.device, dtype: torch.dtype) -> Delta:
        """A copy on `device` in `dtype`; this one stays as it is."""
        return replace(self, b=self.b.to(device, dtype), a=None if self.a is None else self.a.to(device, dtype))


def rescaled(delta: Delta, magnitude: Tensor, weight: Tensor) -> Delta:
    """The dense change of a layer that is given other lengths of its rows as well: of DoRA (arXiv 2402.09353).

    W' = m V / |V| with V = W + Delta and |V| the norm of each row, as PEFT computes it: a row is the weight of one
    output. The change is W' - W, in float32 or wider.

    Args:
        delta: The change before, of factors; (out, in).
        magnitude: m, (out,).
        weight: W, (out, in).
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    start = weight.to(wide)
    moved = start + delta.to(weight.device, wide).dense()
    lengths = torch.linalg.vector_norm(moved, dim=1, keepdim=True)
    return Delta(magnitude.to(weight.device, wide).unsqueeze(1) / lengths * moved - start)


class Update(Protocol):
    """What a training run changed, layer by layer, against the model it started from."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the changed layers, in model order."""

    def delta(self, layer: str) -> Delta:
        """The change of `layer` in float32."""

    def norm(self, layer: str) -> float:
        """Frobenius norm of the change of `layer`."""
        return self.delta(layer).norm()


@dataclass(frozen=True, slots=True, eq=False)
class LowRankUpdate(Update):
    """The factors of a LoRA adapter: Delta = scale * B A (Hu et al., arXiv 2106.09685).

    Attributes:
        factors: By layer name in model order, float32 `b` (out, r) and `a` (r, in), experts first where fused.
    """

    factors: Mapping[str, Delta]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the adapted layers, in model order."""
        return tuple(self.factors)

    def delta(self, layer: str) -> Delta:
        """The factors of `layer`."""
        return self.factors[layer]


@dataclass(frozen=True, slots=True, eq=False)
class LazyTensors(Mapping[str, Tensor]):
    """Tensors that are made whenever they are asked for and never kept, so that one at a time is in memory.

    Attributes:
        shapes: Their shapes by name.
        make: Makes the tensor of a name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    make: Callable[[str], Tensor]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        return self.make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True, slots=True, eq=False)
class DenseUpdate(Update):
    """The difference of two sets of weights.

    Attributes:
        tensors: By layer name in model order, float32 tensors of the layer's shape: (out, in) or (experts, out, in).
            Those of a large model are read or computed one at a time (`LazyTensors`).
    """

    tensors: Mapping[str, Tensor]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in model order."""
        return tuple(self.tensors)

    def delta(self, layer: str) -> Delta:
        """The difference in `layer`, without factors."""
        return Delta(self.tensors[layer])

    @classmethod
    def difference(cls, before: PreTrainedModel, after: PreTrainedModel, layers: LayerMap) -> DenseUpdate:
        """`after - before`, computed in the models' own type where that is wider than float32, and kept in float32.

        Raises:
            UserError: A weight is quantised.
        """

        def change(name: str) -> Tensor:
            layer = layers.by_name[name]
            return (_wide(after, layer) - _wide(before, layer)).float()

        return cls(LazyTensors({layer.name: tuple(layer.shape) for layer in layers}, change))


def _wide(model: PreTrainedModel, layer: Layer) -> Tensor:
    weight = layer_weight(model, layer).detach()
    return weight.to(torch.promote_types(weight.dtype, torch.float32))
