"""Gradients of the training loss, as scorers see them.

Several processes of a stage share the optimizer batches, wherever what a scorer makes of a gradient is small enough to
be exchanged, or adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from layersig.scoring.resumable import Resumable, Value, tokens_of

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.fast.protocol import Runner
    from layersig.layers import Layer
    from layersig.training.checkpoint import Memory

Found = TypeVar("Found")
Visit = Callable[[int, str, "Tensor"], None]
"""Is shown a gradient: number of the batch, name, gradient."""
Show = Callable[[int, Visit], None]
"""Shows the gradients of a batch, by its number."""

_MOST_VALUES = 2**16
"""Values of a gradient up to which it is kept over an interruption."""


class Gradients(Resumable):
    """A scorer's context that reads gradients."""

    def gradients(self, parameters: Mapping[str, Tensor], batches: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Gradient of the training loss, averaged over batches, for tensors of the scorer's own, such as gates.

        Args:
            parameters: Leaf tensors that the model's output depends on.
            batches: Optimizer batches, which processes share.

        Returns:
            By name, tensors of the same shape in float32 or wider.
        """
        import torch

        from layersig.distributed.world import world

        total = {
            name: torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
            for name, value in parameters.items()
        }

        def add(_: int, name: str, gradient: Any) -> None:
            own = total[name]
            own += torch.as_tensor(gradient, dtype=own.dtype, device=own.device) / len(batches)

        with self._gradients(parameters, batches) as show:
            if sum(value.numel() for value in total.values()) > _MOST_VALUES:
                world().add_up(range(len(batches)), list(total.values()), lambda number: show(number, add))
                return total
            kept = self._kept("gradient", len(batches), partial(_parts, show, lambda _, __, found: found.tolist()))
            for number, found in enumerate(kept):
                for name, values in found.items():
                    add(number, name, values)
        return total

    def mean_gradients(
        self, batches: Sequence[Sequence[int]], *, layers: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Gradient of the training loss for every layer, averaged over batches. All of them are in memory at once.

        Args:
            batches: Optimizer batches, which processes share.
            layers: Names of the layers; all of them when None.

        Returns:
            By name of the layer, as `visit_gradients` shows them.

        Raises:
            UserError: The model is quantised or split among processes.
        """
        import torch

        from layersig.distributed.world import world

        dtype = torch.promote_types(self.model.dtype, torch.float32)
        total = {layer.name: torch.zeros(layer.shape, dtype=dtype, device=self.device) for layer in self._named(layers)}

        def add(_: int, layer: str, gradient: Tensor) -> None:
            total[layer] += gradient / len(batches)

        with self._layer_gradients(batches, layers) as show:
            world().add_up(range(len(batches)), list(total.values()), lambda number: show(number, add))
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
        or wider. One at a time is in memory where a batch fits into one micro-batch, else sums of at most 4 GiB. Every
        process visits all of them; `gradient_values`, `mean_gradients` and `visit_parts` share the batches.

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

    def visit_parts(
        self,
        batches: Sequence[Sequence[int]],
        part: Callable[[int, str, Tensor], Found],
        visit: Callable[[int, str, Found], None],
        *,
        layers: Collection[str] | None = None,
        memory: Memory,
    ) -> None:
        """Show something small that is made of every gradient, in the order of the batches: visit(batch, layer, part).

        Args:
            batches: Optimizer batches, which processes share.
            part: Makes it of a gradient, given batch and layer: something that can be pickled. It must change nothing.
            visit: Called once for every batch and layer.
            layers: Names of the layers; all of them when None.
            memory: All that `visit` changes; an interrupted pass continues where it was.

        Raises:
            UserError: The model is quantised or split among processes.
        """
        from layersig.distributed.world import world

        several = world()
        with self._layer_gradients(batches, layers) as show:

            def work(_: int, turn: Sequence[int]) -> None:
                for number, found, _ in several.shared(turn, partial(_parts, show, part)):
                    for layer, value in found.items():
                        visit(number, layer, value)

            self.in_passes("parts", memory, several.turns(len(batches)), work)

    def gradient_values(
        self,
        batches: Sequence[Sequence[int]],
        value: Callable[[int, str, Tensor], float],
        *,
        others: Mapping[str, Tensor] | None = None,
    ) -> list[dict[str, float]]:
        """A number that is made of the gradient of every layer, for every batch: value(batch, layer, gradient).

        Args:
            batches: Optimizer batches, which processes share.
            value: Makes the number; see `visit_gradients`.
            others: As `visit_gradients` has them.

        Returns:
            For every batch, the numbers by name of the layer, in the order in which gradients are computed.

        Raises:
            UserError: The model is quantised or split among processes.
        """
        with self._layer_gradients(batches, others=others) as show:
            return list(self._kept("gradient values", len(batches), partial(_parts, show, value)))

    def _kept(self, piece: str, count: int, work: Callable[[Sequence[int]], Iterable[Value]]) -> Iterator[Value]:
        """What `work` gives for so many batches, by number; in every turn each process does one, and the turn is kept.

        Args:
            piece: Name of a turn.
            count: Number of batches.
            work: Gives a JSON value for each of some batches.
        """
        from layersig.distributed.world import world

        several = world()

        def done(turn: Sequence[int]) -> list[Value]:
            return [found for _, found, _ in several.shared(turn, work)]

        for turn in several.turns(count):
            yield from self.once(f"{piece} in turn", partial(done, turn))

    @contextmanager
    def _layer_gradients(
        self,
        batches: Sequence[Sequence[int]],
        layers: Collection[str] | None = None,
        others: Mapping[str, Tensor] | None = None,
    ) -> Iterator[Show]:
        from layersig.models.dense import own_parameters
        from layersig.models.layermap import layer_parameter, layer_weight

        self._must_be_whole()
        chosen = self._named(layers)
        turned = {
            layer.name for layer in chosen if layer_weight(self.model, layer) is not layer_parameter(self.model, layer)
        }
        with (
            own_parameters(self.model, chosen) as parameters,
            self._gradients({**parameters, **(others or {})}, batches) as show,
        ):

            def as_shaped(number: int, visit: Visit) -> None:
                show(number, lambda batch, name, found: visit(batch, name, found.mT if name in turned else found))

            yield as_shaped

    @contextmanager
    def _gradients(self, parameters: Mapping[str, Tensor], batches: Sequence[Sequence[int]]) -> Iterator[Show]:
        """Within this context, what is given shows the gradients of a batch, by its number."""
        from layersig.fast.budget import keeps_blocks
        from layersig.training.gradients import visit_gradients

        self._must("gradients")
        self.reporter.start("gradients", len(batches), "batches")
        # Gradients need what training needs, so that the settings which make one fit make the other fit.
        recompute = self.train_settings.gradient_checkpointing
        recompute = recompute or not keeps_blocks(self.model, int(self.learnt.footprints.max()))
        with self.counted(batches, self.learnt), ExitStack() as stack:
            runner = cache(lambda: stack.enter_context(self._reading(pack=False, recompute=recompute, shared=False)))

            def show(number: int, visit: Visit) -> None:
                batch = batches[number]
                visit_gradients(
                    runner(), parameters, self.learnt, [batch], lambda _, name, found: visit(number, name, found)
                )
                self.reporter.advance(1, tokens=tokens_of(self.learnt, [batch]))

            yield show

    def _named(self, layers: Collection[str] | None) -> list[Layer]:
        """The layers with these names, in order; all of them when None."""
        members = [layer for group in self.groups for layer in group.members]
        return [layer for layer in members if layers is None or layer.name in layers]

    def _reading(
        self, *, pack: bool = True, recompute: bool = False, shared: bool = True
    ) -> AbstractContextManager[Runner]:
        from layersig.fast.runner import reading_runner

        budget = self.train_settings.micro_batch_tokens
        return reading_runner(
            self.model, self.learnt, budget, fast=self.fast, pack=pack, recompute=recompute, shared=shared
        )


def _parts(show: Show, part: Callable[[int, str, Tensor], Found], numbers: Iterable[int]) -> Iterator[dict[str, Found]]:
    """What is made of the gradients of some batches, by name."""
    for number in numbers:
        found: dict[str, Found] = {}
        show(number, partial(_put, found, part))
        yield found


def _put(
    found: dict[str, Found], part: Callable[[int, str, Tensor], Found], batch: int, name: str, gradient: Tensor
) -> None:
    found[name] = part(batch, name, gradient)
