"""Dropout whose masks depend only on names: seed, step, example and module.

An example gets the same masks however its optimizer batch is cut, on any number of devices, whichever other modules are
tuned, and again when gradient checkpointing runs the layer a second time. This is no optimisation, but what makes the
optimised paths comparable with the plain one. An output head that is tuned sees only target positions on the fast path
and all positions on the plain one, so its masks differ between the two.

On a CPU masks are drawn by NumPy, an example at a time, and kept for the backward pass. On other devices they are a
hash that is computed again wherever it is needed (`layersig.fast.counted`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from layersig.errors import StageFailed
from layersig.fast import profile
from layersig.fast.counted import LEVELS, masked, row_keys
from layersig.fast.layout import Layout
from layersig.fast.workers import PerThread
from layersig.models.devices import sent
from layersig.streams import Streams


class Mask(NamedTuple):
    """Which entries of a layer's input, as rows, are kept.

    Attributes:
        tensor: Zeros and ones in the shape and type of the rows, drawn; or keys of the rows, int32 [2, n], from which
            they are computed.
        threshold: With keys: of `LEVELS` entries so many are dropped.
    """

    tensor: Tensor
    threshold: int | None = None

    def of(self, rows: Tensor) -> Tensor:
        """The entries of [n, width] that are kept, and 0 in place of the others."""
        return rows * self.tensor if self.threshold is None else masked(rows, self.tensor, self.threshold)

    def add_kept(self, total: Tensor, rows: Tensor) -> Tensor:
        """Adds the entries of `rows` that are kept to `total`, in place."""
        return total.addcmul_(rows, self.tensor) if self.threshold is None else total.add_(self.of(rows))


@dataclass(slots=True)
class _Passing:
    """What goes through the model: the step, and rows by their number.

    Attributes:
        numbers: What counted masks need, by number of rows; made when a mask first asks.
    """

    step: int = 0
    layouts: dict[int, Layout] = field(default_factory=dict)
    numbers: dict[int, Tensor] = field(default_factory=dict)


class DropoutKeys:
    """What is going through the model: the optimizer step and its examples.

    All `KeyedDropout` modules of a model share one object; every thread sets what it is running.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._passing: PerThread[_Passing] = PerThread(_Passing())
        self._modules: dict[str, Tensor] = {}

    def set(self, step: int, *layouts: Layout) -> None:
        """Set the step and the rows that come next; a layer's input is matched to a layout by its number of rows."""
        self._passing.value = _Passing(step, {layout.rows: layout for layout in layouts})

    def mask(self, module: str, x: Tensor, threshold: int) -> Mask:
        """Which entries of x are kept; `threshold` of `LEVELS` are dropped.

        Raises:
            StageFailed: The rows of x are not those of any layout, so nothing says which example a row belongs to.
        """
        rows, passing = x.numel() // x.shape[-1], self._passing.value
        layout = passing.layouts.get(rows) if rows else Layout(0, ())
        if layout is None:
            raise StageFailed(
                f"{module}: its input has {rows} rows, not one for each token of the batch, so dropout cannot tell the "
                "examples apart; set train.dropout = 0, or leave this layer out"
            )
        if profile.profile_of(x.device).counted_dropout:
            if rows not in passing.numbers:
                passing.numbers[rows] = sent(self._numbers(passing.step, layout), x.device)
            return Mask(row_keys(passing.numbers[rows], self._module(module, x.device)), threshold)
        draws = self._draws(module, passing.step, layout, x.shape[-1])
        # Writing the comparison straight into x's type is several times faster than casting a boolean mask.
        return Mask(torch.ge(draws, threshold - LEVELS // 2, out=torch.empty_like(draws, dtype=x.dtype)))

    def _numbers(self, step: int, layout: Layout) -> Tensor:
        """A number for each row from (step, example, place in the example); 0 for padding."""
        numbers = torch.zeros(layout.rows, dtype=torch.int64)
        for segment in layout.segments:
            seed = self._streams.number("dropout", segment.example, step)
            # 62 bits, so that no sum overflows.
            numbers[segment.start : segment.start + segment.rows] = (seed >> 1) + torch.arange(segment.rows)
        return numbers

    def _module(self, module: str, device: torch.device) -> Tensor:
        if module not in self._modules:
            self._modules[module] = torch.tensor(self._streams.number("dropout", module), device=device)
        return self._modules[module]

    def _draws(self, module: str, step: int, layout: Layout, width: int) -> Tensor:
        """Uniform 16-bit integers, [rows, width]; the largest in the padding."""
        drawn = np.empty((layout.rows, width), np.int16)
        if sum(segment.rows for segment in layout.segments) < layout.rows:
            drawn.fill(np.iinfo(np.int16).max)
        # In this thread only: further threads would take cores from torch's own, which wait for each other actively.
        for segment in layout.segments:
            seed = self._streams.number("dropout", module, segment.example, step)
            _fill(drawn[segment.start : segment.start + segment.rows].reshape(-1), seed)
        return torch.from_numpy(drawn)


def _fill(target: NDArray[np.int16], seed: int) -> None:
    # Raw words, four draws each: NumPy has no faster exact source.
    words = np.random.SFC64(seed).random_raw(-(-target.size // 4))
    target[:] = words.view(np.int16)[: target.size]


class KeyedDropout(nn.Module):
    """Inverted dropout with a mask drawn from (stream, step, example, module).

    Attributes:
        name: The layer's full name in the Hugging Face model.
        p: Probability of dropping, the nearest multiple of 2**-16 to the one asked for.
    """

    def __init__(self, name: str, p: float, keys: DropoutKeys) -> None:
        super().__init__()
        self.name = name
        self.keys = keys
        self._threshold = round(p * LEVELS)
        self.p = self._threshold / LEVELS

    def mask(self, x: Tensor) -> Mask | None:
        """Which entries of x are kept, as rows; None where nothing is dropped."""
        if not self.training or self._threshold == 0:
            return None
        return self.keys.mask(self.name, x, self._threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Entries of x dropped, the others scaled by 1 / (1 - p)."""
        mask = self.mask(x)
        return x if mask is None else mask.of(x.reshape(-1, x.shape[-1])).view_as(x) / (1 - self.p)


@contextmanager
def keyed_dropout(model: nn.Module, streams: Streams) -> Iterator[DropoutKeys]:
    """Within this context every LoRA layer of a PEFT model uses `KeyedDropout`; yields the keys, which a runner sets.

    Only layers that have an `nn.Dropout` are affected. Adapters of fused expert parameters have none, as in PEFT.
    """
    keys = DropoutKeys(streams)
    replaced = [
        (layer.lora_dropout, adapter, dropout, path)
        for path, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
        for adapter, dropout in layer.lora_dropout.items()
        if isinstance(dropout, nn.Dropout)
    ]
    try:
        for owner, adapter, dropout, path in replaced:
            owner[adapter] = KeyedDropout(path.removeprefix("base_model.model."), dropout.p, keys)
        yield keys
    finally:
        for owner, adapter, dropout, _ in replaced:
            owner[adapter] = dropout


def drop_out(model: nn.Module) -> None:
    """Let the keyed dropouts of a model drop, whatever mode the rest is in."""
    for module in model.modules():
        if isinstance(module, KeyedDropout):
            module.train()
        elif isinstance(module, LoraLayer) and module.lora_variant:
            # PEFT's variants, such as DoRA, leave dropout out in a layer that is in eval mode itself.
            module.training = any(isinstance(each, KeyedDropout) for each in module.lora_dropout.values())
