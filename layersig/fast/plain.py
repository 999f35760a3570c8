"""The plain twin of every fast path: one example at a time, the model's own forward, torch's own cross entropy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from layersig.data.examples import Example
from layersig.data.pairs import Items, Pairs
from layersig.fast.dropout import DropoutKeys
from layersig.fast.layout import Layout, Segment
from layersig.fast.shares import Cut

PLAIN = "plain"

Result = TypeVar("Result")


def singly(_: Sequence[int], batch: Sequence[int]) -> list[list[int]]:
    """Every item of a batch by itself."""
    return [[index] for index in batch]


class PlainRunner:
    """A `Runner` without a single trick.

    Args:
        model: A causal language model, with or without adapters.
        examples: What batches index.
        keys: Of the model's dropouts; needed where they drop something.
        cut: How batches are cut into items.
    """

    numerics = PLAIN

    def __init__(
        self,
        model: PreTrainedModel,
        examples: Items,
        keys: DropoutKeys | None = None,
        cut: Cut = singly,
    ) -> None:
        self._model, self._examples, self._keys, self._cut = model, examples, keys, cut
        self._lengths: list[int] = examples.lengths.tolist()

    def loss_and_gradients(self, batch: Sequence[int], step: int) -> float:
        """See `Runner`."""
        total = 0.0
        for piece in self._pieces(batch):
            loss = self._loss(piece, self._weight(batch), step)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    @torch.no_grad()
    def losses(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """See `Runner`."""
        return [sum(self.loss(piece, self._weight(batch)).item() for piece in self._pieces(batch)) for batch in batches]

    def in_pieces(self, batch: Sequence[int], work: Callable[[Sequence[Sequence[int]]], Result]) -> Result:
        """See `Runner`; each item is a piece of its own."""
        return work(self._pieces(batch))

    def _pieces(self, batch: Sequence[int]) -> list[list[int]]:
        return self._cut(self._lengths, batch)

    def loss(self, piece: Sequence[int], divisor: int) -> Tensor:
        """See `Runner`."""
        return self._loss(piece, divisor)

    def _loss(self, piece: Sequence[int], divisor: int, step: int | None = None) -> Tensor:
        """What a piece contributes to the loss of its batch; with the dropout masks of a step where one is given."""
        losses = torch.stack([self._sequence_loss(each, step) for each in self._examples.sequences(piece)])
        if isinstance(self._examples, Pairs):
            return self._examples.total_loss(piece, -losses) / divisor
        return losses.sum() / divisor

    def _sequence_loss(self, example: Example, step: int | None) -> Tensor:
        if self._keys is not None and step is not None:
            self._keys.set(step, Layout(len(example), [Segment(example.id, 0, len(example))]))
        return token_losses(self._model, example).sum()

    def _weight(self, batch: Sequence[int]) -> int:
        return int(self._examples.weights[list(batch)].sum())


def token_losses(model: PreTrainedModel, example: Example) -> Tensor:
    """Cross entropy of every target token of an example in nats, in float32 or wider: [targets]."""
    tokens = torch.from_numpy(example.tokens.astype(np.int64)).to(model.device)
    logits = model(input_ids=tokens[None], use_cache=False).logits[0]
    where = torch.from_numpy(np.flatnonzero(example.targets)).to(model.device)
    predicting = logits[where - 1]
    wide = torch.promote_types(predicting.dtype, torch.float32)
    return cross_entropy(predicting.to(wide), tokens[where], reduction="none")
