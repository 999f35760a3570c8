"""Passes of the model over the training data: losses, hidden states, inputs of layers, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, partial
from typing import TYPE_CHECKING

from layersig.scoring.gradients import Found, Gradients
from layersig.scoring.resumable import Value

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.block_states import States


class Passes(Gradients):
    """A scorer's context that runs the model in eval mode and leaves it as it was."""

    def losses(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """The training loss of every optimizer batch, in nats per target token or per pair; nothing is trained."""
        with self.counted(batches, self.learnt), ExitStack() as stack:
            runner = cache(lambda: stack.enter_context(self._reading()))
            return [self.once("loss", partial(lambda batch: runner().losses([batch])[0], batch)) for batch in batches]

    def measured_states(self, indices: Sequence[int], measure: Callable[[States], Value]) -> Iterator[Value]:
        """What is measured of the states of `block_states`, which outlives an interruption.

        Args:
            indices: Examples by index, as from `draw`.
            measure: Gives a JSON value.
        """
        from layersig.scoring.block_states import measured_states

        with self.counted([indices]):
            yield from measured_states(self, indices, measure, partial(self.once, "states"))

    def block_states(self, indices: Sequence[int]) -> Iterator[States]:
        """Hidden states of training examples before every block and behind the last, some examples at a time.

        They are taken at the blocks, in front of the final norm, and without padding.

        Args:
            indices: Examples by index, as from `draw`.
        """
        from layersig.scoring.block_states import block_states

        with self.counted([indices]):
            yield from block_states(self, indices)

    def layer_inputs(
        self,
        indices: Sequence[int],
        of: Callable[[str, Tensor, Tensor], Found],
        *,
        layers: Collection[str] | None = None,
    ) -> Iterator[dict[str, Found]]:
        """What a function makes of the inputs and outputs of every layer, by layer, some examples at a time.

        Args:
            indices: Examples by index, as from `draw`.
            of: Called with the name of a layer, its inputs, [tokens, in], and its outputs, [tokens, out], without
                padding. It should return something small, such as a sum: the layers of a pass are all in memory.
            layers: Names of the layers to look at; all of them when None.

        Raises:
            UserError: A layer is a parameter of fused experts, which see some of the tokens each.
        """
        from layersig.scoring.block_states import layer_inputs

        with self.counted([indices]):
            yield from layer_inputs(self, indices, of, layers)
