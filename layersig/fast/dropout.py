"""Dropout whose masks depend only on names: seed, step, example and module.

An example gets the same masks however its optimizer batch is cut, on any number of devices, whichever other modules are
tuned, and again when gradient checkpointing runs the layer a second time. This is no optimisation, but what makes the
optimised paths comparable with the plain one. An output head that is tuned sees only target positions on the fast path
and all positions on the plain one, so its masks differ between the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from layersig.errors import StageFailed
from layersig.fast.layout import Layout
from layersig.fast.workers import PerThread
from layersig.streams import Streams

_LEVELS = 1 << 16


class DropoutKeys:
    """What is going through the model: the optimizer step and its examples.

    All `KeyedDropout` modules of a model share one object; every thread sets what it is running.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._passing: PerThread[tuple[int, dict[int, Layout]]] = PerThread((0, {}))

    def set(self, step: int, *layouts: Layout) -> None:
        """Set the step and the rows that come next; a layer's input is matched to a layout by its number of rows."""
        self._passing.value = step, {layout.rows: layout for layout in layouts}

    def draws(self, module: str, x: Tensor) -> Tensor:
        """Uniform 16-bit integers in the shape of x as rows, on its device.

        Raises:
            StageFailed: The rows of x are not those of any layout, so nothing says which example a row belongs to.
        """
        rows, width = x.numel() // x.shape[-1], x.shape[-1]
        step, layouts = self._passing.value
        layout = layouts.get(rows) if rows else Layout(0, ())
        if layout is None:
            raise StageFailed(
                f"{module}: its input has {rows} rows, not one for each token of the batch, so dropout cannot tell the "
                "examples apart; set train.dropout = 0, or leave this layer out"
            )
        seeds = [self._streams.number("dropout", module, each.example, step) for each in layout.segments]
        if x.device.type != "cpu":
            return _draw_on_device(layout, width, seeds, x.device)
        drawn = np.empty((rows, width), np.int16)
        if sum(segment.rows for segment in layout.segments) < rows:
            drawn.fill(np.iinfo(np.int16).max)
        # In this thread only: further threads would take cores from torch's own, which wait for each other actively.
        for segment, seed in zip(layout.segments, seeds, strict=True):
            _fill(drawn[segment.start : segment.start + segment.rows].reshape(-1), seed)
        return torch.from_numpy(drawn)


def _fill(target: NDArray[np.int16], seed: int) -> None:
    # Raw words, four draws each: NumPy has no faster exact source.
    words = np.random.SFC64(seed).random_raw(-(-target.size // 4))
    target[:] = words.view(np.int16)[: target.size]


def _draw_on_device(layout: Layout, width: int, seeds: Sequence[int], device: torch.device) -> Tensor:
    drawn = torch.full((layout.rows, width), torch.iinfo(torch.int16).max, dtype=torch.int16, device=device)
    if device.type == "meta":
        return drawn
    generator = torch.Generator(device)
    for segment, seed in zip(layout.segments, seeds, strict=True):
        words = torch.empty(-(-segment.rows * width // 2), dtype=torch.int32, device=device)
        words.random_(-(1 << 31), 1 << 31, generator=generator.manual_seed(seed))
        drawn[segment.start : segment.start + segment.rows] = words.view(torch.int16)[: segment.rows * width].view(
            -1, width
        )
    return drawn


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
        self._threshold = round(p * _LEVELS)
        self.p = self._threshold / _LEVELS

    def kept(self, x: Tensor) -> Tensor | None:
        """0 for a dropped entry and 1 for another, as rows of x in its type; None where nothing is dropped."""
        if not self.training or self._threshold == 0:
            return None
        draws = self.keys.draws(self.name, x)
        # Writing the comparison straight into x's type is several times faster than casting a boolean mask.
        return torch.ge(draws, self._threshold - _LEVELS // 2, out=torch.empty_like(draws, dtype=x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Entries of x dropped, the others scaled by 1 / (1 - p)."""
        kept = self.kept(x)
        return x if kept is None else x * kept.view_as(x) / (1 - self.p)


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
