"""What a scorer gets to see and to do: what it may read, passes of the model, trainings and evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from layersig.errors import UserError
from layersig.records import ABLATIONS, WHOLE
from layersig.scoring.passes import Passes

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.layers import Layer
    from layersig.training.checkpoint import Memory
    from layersig.training.log import Step, TrainLog
    from layersig.training.optimization import Optimization


class ScoringContext(Passes):
    """The input of a scorer: what `Inputs` gives, `Passes` of the model over batches, trainings and evaluations.

    The model runs in eval mode, and every pass leaves it as it was.

    A scorer that is killed runs again from its beginning, and passes that were done give at once what they gave:
    evaluations task by task and answer by answer, losses and gradients batch by batch. This asks nothing of a scorer
    but that it does the same every time.
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
            self.model, parameters, self.learnt, batches, self.train_settings, self._job.streams, fast=self.fast
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
        known = partial(tuned, base=base, steps=steps, streams=streams, examples=self.learnt, batches=batches)
        with known(self.model, layers, settings) as tuning:
            work = Workload(tuning.model, tuning.parameters, self.learnt, batches, settings, streams, fast=self.fast)
            kept = Checkpoints(self._place("tuned"), tuning, end=True)
            log = train(work, Optimization.of(settings), [tuning, kept, Progress(self.reporter)])
            tuning.model.eval()
            self._count(log.tokens, log.peak_memory)
            yield log

    def evaluate(self, keep: str | None = None) -> dict[str, float]:
        """The score of the model, as it is now, on every selection task, by the metric that arms are judged on.

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
