"""What a scorer gets to see and to do: what it may read, and passes of the model over the training data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from layersig.errors import UserError
from layersig.records import ABLATIONS, WHOLE
from layersig.scoring.inputs import Inputs

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.fast.runner import Runner
    from layersig.layers import Layer
    from layersig.scoring.block_states import States
    from layersig.training.log import Step, TrainLog
    from layersig.training.optimization import Optimization

Found = TypeVar("Found")


class ScoringContext(Inputs):
    """The input of a scorer: what `Inputs` gives, and passes of the model over batches.

    The model runs in eval mode, and every pass leaves it as it was.
    """

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

    def train(
        self,
        parameters: Mapping[str, Tensor],
        batches: Sequence[Sequence[int]],
        optimization: Optimization,
        *,
        after_step: Callable[[Step], bool | None] | None = None,
    ) -> TrainLog:
        """Train parameters of the scorer's own on the training loss, with the one loop of layersig.

        Args:
            parameters: Tensors that require a gradient and that the model's output depends on.
            batches: Optimizer batches, as from `optimizer_batches`.
            optimization: How they move.
            after_step: Called after every update; True ends the training there.
        """
        from layersig.fast.runner import Workload
        from layersig.training.callbacks import AfterStep, Progress
        from layersig.training.loop import train

        work = Workload(
            self.model, parameters, self.examples, batches, self.train_settings, self._job.streams, fast=self.fast
        )
        callbacks = [*([] if after_step is None else [AfterStep(after_step)]), Progress(self.reporter)]
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
        from layersig.training.loop import train
        from layersig.training.methods import Base, tuned
        from layersig.training.optimization import Optimization

        settings, streams = self.train_settings, self._job.streams
        base, steps = Base(str(self._job.inputs["model"])), len(batches)
        with tuned(self.model, layers, settings, base=base, steps=steps, streams=streams) as tuning:
            work = Workload(tuning.model, tuning.parameters, self.examples, batches, settings, streams, fast=self.fast)
            log = train(work, Optimization.of(settings), [tuning, Progress(self.reporter)])
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
        from layersig.evaluating.items import score_task
        from layersig.evaluating.model import SharedPrefixLM
        from layersig.models.devices import peak_memory
        from layersig.scoring.kept import KeptEvaluation, score_of

        kept = None if keep is None else KeptEvaluation(self.work / ABLATIONS / keep)
        if kept is not None and (found := kept.scores()) is not None:
            return found
        tasks = self.tasks
        tokens = self._job.spec.batch_tokens
        allowed = self._job.spec.allow_code_execution
        found = {}
        with peak_memory(self.device) as memory:
            model = SharedPrefixLM(
                self.model,
                self.tokenizer,
                batch_tokens=tokens,
                reporter=self.reporter,
                chat_template=self._job.spec.chat_template,
                share=self.fast,
            )
            for task, settings in zip(tasks, self.params.tasks, strict=True):
                model.title = task.name
                scored = score_task(task, model, allow_code=allowed, corpus=False)
                found[task.name] = score_of(task.name, scored)
                if kept is not None:
                    kept.add(scored, task, model if settings.floor and keep == WHOLE else None)
        if kept is not None:
            kept.write(found)
        self._count(model.tokens, memory.peak)
        return found

    def losses(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """The training loss of every optimizer batch, in nats per target token; nothing is trained."""
        with self.counted(batches), self._reading() as runner:
            return runner.losses(batches)

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

        def add(_: int, name: str, gradient: Tensor) -> None:
            total[name] += gradient / len(batches)

        self._visit(parameters, batches, add)
        return total

    def visit_gradients(
        self,
        batches: Sequence[Sequence[int]],
        visit: Callable[[int, str, Tensor], None],
        *,
        layers: Collection[str] | None = None,
        others: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Show the gradient of the training loss for every batch and layer: visit(batch, layer, gradient).

        Gradients have the shape of the layer, that of `weight(layer)` and of `update.delta(layer).dense()`, in float32
        or wider. One at a time is in memory where a batch fits into one micro-batch, else sums of at most 4 GiB.

        Args:
            batches: Optimizer batches.
            visit: Called once for every batch and layer.
            layers: Names of the layers to show; all of them when None.
            others: Further parameters of the model by name, such as norms and biases, shown under that name.

        Raises:
            UserError: The model is quantised.
        """
        from layersig.models.layermap import layer_parameter, layer_weight

        members = [layer for group in self.groups for layer in group.members]
        chosen = [layer for layer in members if layers is None or layer.name in layers]
        parameters: dict[str, Tensor] = {layer.name: layer_parameter(self.model, layer) for layer in chosen}
        turned = {layer.name for layer in chosen if layer_weight(self.model, layer) is not parameters[layer.name]}

        def show(batch: int, name: str, gradient: Tensor) -> None:
            visit(batch, name, gradient.mT if name in turned else gradient)

        self._visit({**parameters, **(others or {})}, batches, show)

    def _visit(
        self,
        parameters: Mapping[str, Tensor],
        batches: Sequence[Sequence[int]],
        visit: Callable[[int, str, Tensor], None],
    ) -> None:
        from layersig.training.gradients import visit_gradients

        self._must("gradients")
        self.reporter.start("gradients", len(batches), "batches")
        shown = 0

        def counting(batch: int, name: str, gradient: Tensor) -> None:
            nonlocal shown
            if batch >= shown:  # the first gradient of a batch: its forward pass is done
                self.reporter.advance(batch + 1 - shown, tokens=self._tokens(batches[shown : batch + 1]))
                shown = batch + 1
            visit(batch, name, gradient)

        # Gradients need what training needs, so that the settings which make one fit make the other fit.
        recompute = self.train_settings.gradient_checkpointing
        with self.counted(batches), self._reading(pack=False, recompute=recompute) as runner:
            visit_gradients(runner, parameters, self.examples, batches, counting)

    def _reading(self, *, pack: bool = True, recompute: bool = False) -> AbstractContextManager[Runner]:
        from layersig.fast.runner import reading_runner

        budget = self.train_settings.micro_batch_tokens
        return reading_runner(self.model, self.examples, budget, fast=self.fast, pack=pack, recompute=recompute)

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
