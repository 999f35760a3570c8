"""What runs a model on optimizer batches, whatever way they go through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from torch import Tensor

Result = TypeVar("Result")


class Runner(Protocol):
    """Runs a model on optimizer batches, given by the indices of their examples."""

    @property
    def numerics(self) -> str:
        """Names of the arithmetic, for the log."""

    def loss_and_gradients(self, batch: Sequence[int], step: int) -> float:
        """Loss of a batch, in nats.

        Of conversations it is summed over their target tokens, divided by their number; of pairs it is the mean. Its
        gradient becomes `grad` of every parameter of the workload that requires one.

        Args:
            batch: Conversations or pairs by index.
            step: Number of the optimizer step, from 1; dropout masks depend on it.
        """

    def losses(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """Loss of every batch, without gradients."""

    def in_pieces(self, batch: Sequence[int], work: Callable[[Sequence[Sequence[int]]], Result]) -> Result:
        """What `work` makes of the pieces in which a batch goes through the model.

        When memory runs out, `work` is called again with smaller pieces of the same batch.
        """

    def loss(self, piece: Sequence[int], divisor: int) -> Tensor:
        """What a piece contributes to the loss of its batch, as a node of the autograd graph.

        Args:
            piece: Examples by index.
            divisor: What the whole batch weighs: its target tokens, or its pairs.
        """
