"""Passes of the model over the training data: losses, hidden states, inputs of layers, gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from layersig.scoring.resumable import Resumable, Value

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.fast.protocol import Runner
    from layersig.scoring.block_states import States
    from layersig.training.checkpoint import Memory

Found = TypeVar("Found")
Visit = Callable[[int, str, "Tensor"], None]
"""Is shown a gradient: number of the batch, name, gradient."""

_MOST_VALUES = 2**16
"""Values of a gradient up to which it is kept over an interruption."""


class Passes(Resumable):
    """A scorer's context that runs the model in eval mode and leaves it as it was."""

    def losses(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """The training loss of every optimizer batch, in nats per target token; nothing is trained."""
        with self.counted(batches), ExitStack() as stack:
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

    def gradients(self, parameters: Mapping[str, Tensor], batches: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Gradient of the training loss, averaged over batches, for tensors of the scorer's own, such as gates.

        Args:
            parameters: Leaf tensors that the model's output depends on.
            batches: Optimizer batches.

        Returns:
            By name, tensors of the same shape in float32 or wider.
        """
        import torch

        total = {
            name: torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
            for name, value in parameters.items()
        }
        small = sum(value.numel() for value in total.values()) <= _MOST_VALUES
        with self._gradients(parameters, batches) as show:

            def of(number: int) -> dict[str, Any]:
                found: dict[str, Any] = {}
                show(number, lambda _, name, gradient: found.update({name: gradient.tolist() if small else gradient}))
                return found

            for number in range(len(batches)):
                found = self.once("gradient", partial(of, number)) if small else of(number)
                for name, gradient in found.items():
                    own = total[name]
                    own += torch.as_tensor(gradient, dtype=own.dtype, device=own.device) / len(batches)
        return total

    def visit_gradients(
        self,
        batches: Sequence[Sequence[int]],
        visit: Callable[[int, str, Tensor], None],
        *,
        layers: Collection[str] | None = None,
        others: Mapping[str, Tensor] | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Show the gradient of the training loss for every batch and layer: visit(batch, layer, gradient).

        Gradients have the shape of the layer, that of `weight(layer)` and of `update.delta(layer).dense()`, in float32
        or wider. One at a time is in memory where a batch fits into one micro-batch, else sums of at most 4 GiB.

        Args:
            batches: Optimizer batches.
            visit: Called once for every batch and layer.
            layers: Names of the layers to show; all of them when None.
            others: Further parameters of the model by name, such as norms and biases, shown under that name.
            memory: All that `visit` changes; with it, an interrupted pass continues where it was. Where `visit` makes
                a number of each gradient, `gradient_values` does the same without.

        Raises:
            UserError: The model is quantised or split among processes.
        """
        with self._layer_gradients(batches, layers, others) as show:
            if memory is None:
                for number in range(len(batches)):
                    show(number, visit)
            else:
                self.in_passes("gradients", memory, batches, lambda number, _: show(number, visit))

    def gradient_values(
        self,
        batches: Sequence[Sequence[int]],
        value: Callable[[int, str, Tensor], float],
        *,
        others: Mapping[str, Tensor] | None = None,
    ) -> list[dict[str, float]]:
        """A number that is made of the gradient of every layer, for every batch: value(batch, layer, gradient).

        Args:
            batches: Optimizer batches.
            value: Makes the number; see `visit_gradients`.
            others: As `visit_gradients` has them.

        Returns:
            For every batch, the numbers by name of the layer, in the order in which gradients are computed.

        Raises:
            UserError: The model is quantised.
        """
        with self._layer_gradients(batches, others=others) as show:

            def of(number: int) -> dict[str, float]:
                found: dict[str, float] = {}
                show(number, lambda batch, name, gradient: found.update({name: value(batch, name, gradient)}))
                return found

            return [self.once("gradient values", partial(of, number)) for number in range(len(batches))]

    @contextmanager
    def _layer_gradients(
        self,
        batches: Sequence[Sequence[int]],
        layers: Collection[str] | None = None,
        others: Mapping[str, Tensor] | None = None,
    ) -> Iterator[Callable[[int, Visit], None]]:
        from layersig.models.layermap import layer_parameter, layer_weight

        self._must_be_whole()
        members = [layer for group in self.groups for layer in group.members]
        chosen = [layer for layer in members if layers is None or layer.name in layers]
        parameters: dict[str, Tensor] = {layer.name: layer_parameter(self.model, layer) for layer in chosen}
        turned = {layer.name for layer in chosen if layer_weight(self.model, layer) is not parameters[layer.name]}
        with self._gradients({**parameters, **(others or {})}, batches) as show:

            def as_shaped(number: int, visit: Visit) -> None:
                show(number, lambda batch, name, found: visit(batch, name, found.mT if name in turned else found))

            yield as_shaped

    @contextmanager
    def _gradients(
        self, parameters: Mapping[str, Tensor], batches: Sequence[Sequence[int]]
    ) -> Iterator[Callable[[int, Visit], None]]:
        """Within this context, what is given shows the gradients of a batch, by its number."""
        from layersig.fast.budget import keeps_blocks
        from layersig.training.gradients import visit_gradients

        self._must("gradients")
        self.reporter.start("gradients", len(batches), "batches")
        # Gradients need what training needs, so that the settings which make one fit make the other fit.
        recompute = self.train_settings.gradient_checkpointing
        recompute = recompute or not keeps_blocks(self.model, int(self.examples.lengths.max()))
        with self.counted(batches), ExitStack() as stack:
            runner = cache(lambda: stack.enter_context(self._reading(pack=False, recompute=recompute, shared=False)))

            def show(number: int, visit: Visit) -> None:
                batch = batches[number]
                visit_gradients(
                    runner(), parameters, self.examples, [batch], lambda _, name, found: visit(number, name, found)
                )
                self.reporter.advance(1, tokens=self._tokens([batch]))

            yield show

    def _reading(
        self, *, pack: bool = True, recompute: bool = False, shared: bool = True
    ) -> AbstractContextManager[Runner]:
        from layersig.fast.runner import reading_runner

        budget = self.train_settings.micro_batch_tokens
        return reading_runner(
            self.model, self.examples, budget, fast=self.fast, pack=pack, recompute=recompute, shared=shared
        )
