"""What a scorer gets to see and to do: what it may read, and passes of the model over the training data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, cached_property, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from layersig.errors import UserError
from layersig.records import ABLATIONS, WHOLE
from layersig.scoring.inputs import Inputs
from layersig.store.journal import Journal

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.fast.protocol import Runner
    from layersig.layers import Layer
    from layersig.scoring.block_states import States
    from layersig.training.checkpoint import Memory
    from layersig.training.log import Step, TrainLog
    from layersig.training.optimization import Optimization

Found = TypeVar("Found")
Piece = TypeVar("Piece")
Value = TypeVar("Value")
Visit = Callable[[int, str, "Tensor"], None]
"""Is shown a gradient: number of the batch, name, gradient."""

_MOST_VALUES = 2**16
"""Values of a gradient up to which it is kept over an interruption."""


class ScoringContext(Inputs):
    """The input of a scorer: what `Inputs` gives, and passes of the model over batches.

    The model runs in eval mode, and every pass leaves it as it was.

    A scorer that is killed runs again from its beginning, and passes that were done give at once what they gave:
    evaluations task by task and answer by answer, losses and gradients batch by batch. This asks nothing of a scorer
    but that it does the same every time.
    """

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self._job.work / "passes.jsonl")

    @cached_property
    def _numbers(self) -> Iterator[int]:
        return count()

    def _place(self, name: str) -> Path:
        """Where the next thing that keeps its state in a file of its own has it, the same in every process."""
        return self._job.work / f"{name}-{next(self._numbers)}"

    def once(self, piece: str, work: Callable[[], Value]) -> Value:
        """What a piece of work gives: `work()`, or what that gave before an interruption.

        For work that takes long, besides the passes below. Pieces are known by their order, which must be the same in
        every process.

        Args:
            piece: Its name.
            work: Gives a JSON value.
        """
        return self._journal.once(piece, work)

    @contextmanager
    def gated(self, gates: Callable[[], Tensor]) -> Iterator[None]:
        """Run the model with a share of the update: W + gate of its unit * Delta in every layer.

        Args:
            gates: Gives one gate a unit, (len(layers),); asked before every forward pass, so it may depend on
                parameters that are being trained.

        Raises:
            UserError: The update does not cover every layer.
        """
        import torch

        from layersig.scoring.gating import gated

        strange = [name for name in self.update.layers if name not in self.unit_of]
        missing = sorted(self.unit_of.keys() - set(self.update.layers))
        if strange or missing:
            raise UserError(f"the update and the model differ in their layers, such as {(strange + missing)[0]}")
        places = {name: number for number, name in enumerate(self.layers)}
        place = torch.tensor([places[self.unit_of[name]] for name in self.update.layers], device=self.device)
        with gated(self.model, self.update, gates().detach()[place], fast=self.fast) as live:

            def refresh(*_: object) -> None:
                live.set(gates()[place])

            handle = self.model.register_forward_pre_hook(refresh)
            try:
                yield
            finally:
                handle.remove()

    def in_passes(self, name: str, memory: Memory, pieces: Sequence[Piece], work: Callable[[int, Piece], None]) -> None:
        """Do `work` for one piece after the other, where tensors add up that are too large for `once`.

        What `memory` holds is saved from time to time, and an interrupted loop continues with it.

        Args:
            name: What the file is called.
            memory: All that `work` changes.
            pieces: What there is to do.
            work: Does one, given its number and itself.
        """
        from layersig.training.passes import in_passes

        in_passes(self._place(name), memory, pieces, work, self.device)

    def train(
        self,
        parameters: Mapping[str, Tensor],
        batches: Sequence[Sequence[int]],
        optimization: Optimization,
        *,
        after_step: Callable[[Step], bool | None] | None = None,
        memory: Memory | None = None,
    ) -> TrainLog:
        """Train parameters of the scorer's own on the training loss, with the one loop of layersig.

        An interrupted training continues at its last checkpoint; one with an `after_step` only if it has a `memory`.

        Args:
            parameters: Tensors that require a gradient and that the model's output depends on.
            batches: Optimizer batches, as from `optimizer_batches`.
            optimization: How they move.
            after_step: Called after every update; True ends the training there.
            memory: All that `after_step` remembers.
        """
        from layersig.fast.runner import Workload
        from layersig.training.callbacks import AfterStep, Progress
        from layersig.training.checkpoint import Checkpoints
        from layersig.training.loop import train

        place = self._place("training")
        work = Workload(
            self.model, parameters, self.examples, batches, self.train_settings, self._job.streams, fast=self.fast
        )
        callbacks = [
            *([] if after_step is None else [AfterStep(after_step)]),
            *([] if after_step is not None and memory is None else [Checkpoints(place, memory, end=True)]),
            Progress(self.reporter),
        ]
        log = train(work, optimization, callbacks)
        self._job.metrics.extend(step.to_json() for step in log.steps)
        self._count(log.tokens, log.peak_memory)
        return log

    @contextmanager
    def tuned(self, layers: Sequence[Layer], batches: Sequence[Sequence[int]]) -> Iterator[TrainLog]:
        """Train some layers as the recipe's `[train]` says; within this context the model has what they learned.

        The start of a layer depends on its name and the seed alone, as in every arm.

        Args:
            layers: What is trained; nothing else is.
            batches: Optimizer batches, as from `optimizer_batches`; their number is the length of the training.
        """
        from layersig.fast.runner import Workload
        from layersig.training.callbacks import Progress
        from layersig.training.checkpoint import Checkpoints
        from layersig.training.loop import train
        from layersig.training.methods import Base, tuned
        from layersig.training.optimization import Optimization

        settings, streams = self.train_settings, self._job.streams
        base, steps = Base(str(self._job.inputs["model"])), len(batches)
        known = partial(tuned, base=base, steps=steps, streams=streams, examples=self.examples, batches=batches)
        with known(self.model, layers, settings) as tuning:
            work = Workload(tuning.model, tuning.parameters, self.examples, batches, settings, streams, fast=self.fast)
            kept = Checkpoints(self._place("tuned"), tuning, end=True)
            log = train(work, Optimization.of(settings), [tuning, kept, Progress(self.reporter)])
            tuning.model.eval()
            self._count(log.tokens, log.peak_memory)
            yield log

    def evaluate(self, keep: str | None = None) -> dict[str, float]:
        """The score of the model, as it is now, on every selection task: `acc_norm`, or else the task's first metric.

        Args:
            keep: Name under which every item, response and probe is published with the scores, in
                `ablations/SCORER/KEEP/`; what was kept before an interruption is read back instead of measured again.
                `whole` is the name of the unchanged model, of which the floors that tasks ask for are measured too.

        Raises:
            UserError: A task measures a loss, or has no metric that is a mean of items, so that it has no score.
        """
        from layersig.models.devices import peak_memory

        place = self._place("answers")
        with peak_memory(self.device) as memory:
            found, tokens = self.once(f"evaluate {keep}", partial(self._evaluated, keep, place))
        self._count(tokens, memory.peak)
        return found

    def _evaluated(self, keep: str | None, place: Path) -> tuple[dict[str, float], int]:
        """Scores by task, and the tokens that they took; answers are kept in `place` until all are given."""
        from layersig.evaluating.items import score_task
        from layersig.evaluating.kept import KeptAnswers
        from layersig.evaluating.model import SharedPrefixLM
        from layersig.scoring.kept import KeptEvaluation, score_of

        kept = None if keep is None else KeptEvaluation(self._job.work / ABLATIONS / keep)
        model = SharedPrefixLM(
            self.model,
            self.tokenizer,
            batch_tokens=self._job.spec.batch_tokens,
            reporter=self.reporter,
            chat_template=self._job.spec.chat_template,
            share=self.fast,
            kept=KeptAnswers(place),
        )
        found = {}
        for task, settings in zip(self.tasks, self.params.tasks, strict=True):
            model.title = task.name
            scored = score_task(task, model, allow_code=self._job.spec.allow_code_execution, corpus=False)
            found[task.name] = score_of(task.name, scored)
            if kept is not None:
                kept.add(scored, task, model if settings.floor and keep == WHOLE else None)
        if kept is not None:
            kept.write(found)
        return found, model.tokens

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
        from layersig.training.gradients import visit_gradients

        self._must("gradients")
        self.reporter.start("gradients", len(batches), "batches")
        # Gradients need what training needs, so that the settings which make one fit make the other fit.
        recompute = self.train_settings.gradient_checkpointing
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

    @contextmanager
    def counted(self, batches: Sequence[Sequence[int]]) -> Iterator[None]:
        """Add to the cost what one pass over the batches takes."""
        from layersig.models.devices import peak_memory

        with peak_memory(self.device) as memory:
            yield
        self._count(self._tokens(batches), memory.peak)

    def _tokens(self, batches: Sequence[Sequence[int]]) -> int:
        return sum(len(self.examples[index]) for indices in batches for index in indices)

    def _count(self, tokens: int, peak_memory: int) -> None:
        cost = self._job.cost
        cost["tokens"] = cost.get("tokens", 0) + tokens
        cost["peak_memory"] = max(cost.get("peak_memory", 0), peak_memory)
