"""A batch shared out among the processes of a stage: every one runs some of its examples, and what they find is summed.

Optimizer batches are what they are in one process, and so are dropout masks, which belong to examples: only the order
in which losses and gradients are summed depends on the number of processes. With one process none of this is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from layersig.data.examples import Example, Examples
from layersig.data.pairs import Items, Pairs
from layersig.distributed.world import World
from layersig.errors import UserError

if TYPE_CHECKING:
    from layersig.fast.batching import Batching, MicroBatch
    from layersig.fast.protocol import Runner
    from layersig.fast.workers import Lanes

Result = TypeVar("Result")
Cut = Callable[[Sequence[int], Sequence[int]], list[list[int]]]
"""From the lengths of all examples and a batch, by index, to micro-batches."""

_BLANK = Example("blank", "blank", np.full(2, 7, np.int32), np.zeros(2, np.bool_))
"""An example without a target: its loss is 0, and so are all gradients."""


def shares(lengths: Sequence[int], batch: Sequence[int], count: int) -> list[list[int]]:
    """A batch in `count` parts of about as many tokens: the longest first, each to the part with the fewest."""
    parts: list[list[int]] = [[] for _ in range(count)]
    sizes = [0] * count
    for index in sorted(batch, key=lambda index: (-lengths[index], index)):
        least = sizes.index(min(sizes))
        parts[least].append(index)
        sizes[least] += lengths[index]
    return parts


@dataclass(frozen=True, slots=True)
class SharedCut:
    """Cuts batches into the micro-batches of this process.

    Over a sharded model every process cuts as many; those that have fewer go through it with a blank example.

    Attributes:
        world: The processes.
        cut: How a process cuts its share, given the lengths of all examples.
        blank: Index of a blank example; None where the model is not sharded.
    """

    world: World
    cut: Cut
    blank: int | None = None

    def __call__(self, lengths: Sequence[int], batch: Sequence[int]) -> list[list[int]]:
        """The micro-batches."""
        parts = shares(lengths, batch, self.world.size)
        own = self.cut(lengths, parts[self.world.rank])
        if self.blank is None:
            return own
        most = max(len(self.cut(lengths, part)) for part in parts)
        return own + [[self.blank]] * (most - len(own))


@dataclass(frozen=True, slots=True)
class SharedBatching:
    """A `Batching` that cuts for this process alone."""

    inner: Batching
    cut: SharedCut

    @property
    def numerics(self) -> str:
        """See `Batching`."""
        return self.inner.numerics

    @property
    def lanes(self) -> Lanes:
        """See `Batching`."""
        return self.inner.lanes

    def lay_out(self, examples: Sequence[Example], device: torch.device) -> MicroBatch:
        """See `Batching`."""
        return self.inner.lay_out(examples, device)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the batches of some examples are shared out. With one process everything stays as it is.

    Attributes:
        world: The processes.
        examples: What batches index.
    """

    world: World
    examples: Items

    @property
    def held(self) -> Items:
        """The examples and, where processes need one, a blank one behind them.

        Raises:
            UserError: The model is split among processes, and what is learnt are pairs.
        """
        if not self.world.sharded:
            return self.examples
        if isinstance(self.examples, Pairs):
            raise UserError("--shard cannot be combined with an objective that learns from pairs; leave it away")
        return Examples.of([*self.examples, _BLANK])

    def cut(self, cut: Cut) -> Cut:
        """How this process cuts batches, where a single one would do it by `cut`."""
        if self.world.size == 1:
            return cut
        return SharedCut(self.world, cut, len(self.examples) if self.world.sharded else None)

    def batching(self, inner: Batching) -> Batching:
        """A way to put the share of this process through the model."""
        cut = self.cut(inner.cut)
        return SharedBatching(inner, cut) if isinstance(cut, SharedCut) else inner

    def runner(self, inner: Runner, parameters: Sequence[Tensor] = ()) -> Runner:
        """A runner that gives the sums over all processes."""
        return inner if self.world.size == 1 else SharedRunner(inner, self.world, parameters)


class SharedRunner:
    """A `Runner` that adds what this process found to what the others did.

    Args:
        inner: Runs the micro-batches of this process.
        world: The processes.
        parameters: What is trained. Gradients of sharded parameters have been summed by FSDP.
    """

    def __init__(self, inner: Runner, world: World, parameters: Sequence[Tensor] = ()) -> None:
        self._inner, self._world = inner, world
        self._parameters = [each for each in parameters if not isinstance(each, DTensor)]

    @property
    def numerics(self) -> str:
        """See `Runner`."""
        return self._inner.numerics

    def loss_and_gradients(self, batch: Sequence[int], step: int) -> float:
        """See `Runner`."""
        loss = self._inner.loss_and_gradients(batch, step)
        moved = [each for each in self._parameters if each.requires_grad]
        # A parameter that no example reaches keeps no gradient, as in one process: optimizers then leave it alone.
        found = self._sums([loss, *(float(each.grad is not None) for each in moved)])
        reached = [parameter for parameter, count in zip(moved, found[1:], strict=True) if count]
        for parameter in reached:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._world.sum([each.grad for each in reached if each.grad is not None])
        return found[0]

    def losses(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """See `Runner`."""
        return self._sums(self._inner.losses(batches))

    def in_pieces(self, batch: Sequence[int], work: Callable[[Sequence[Sequence[int]]], Result]) -> Result:
        """See `Runner`; here the pieces of this process."""
        return self._inner.in_pieces(batch, work)

    def loss(self, piece: Sequence[int], divisor: int) -> Tensor:
        """See `Runner`."""
        return self._inner.loss(piece, divisor)

    def _sums(self, values: Sequence[float]) -> list[float]:
        total: Any = np.zeros(len(values))
        for each in self._world.gather(list(values)):
            total += each
        return [float(value) for value in total]
