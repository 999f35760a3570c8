"""What a scorer gets to see: exactly what it declared in `needs`, loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from layersig.errors import UserError
from layersig.layers import Group, Layer, LayerMap
from layersig.plugin.components import Component
from layersig.recipe.schema import TrainSettings
from layersig.store.job import Job

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from layersig.data.batches import Batch
    from layersig.data.examples import Examples
    from layersig.models.updates import Update
    from layersig.training.log import Step, TrainLog
    from layersig.training.optimization import Optimization


class ScoringContext:
    """The input of a scorer, in force while its `score` runs.

    Attributes:
        layers: Names of the units to score, in model order; with unit `module`, full names of linear modules.
        groups: The same units with their layers.
        params: The scorer's own parameters.
        train_settings: The recipe's `[train]`.
        trajectory: Rows that the scorer wants kept beside its scores, such as scores by step.
    """

    def __init__(self, job: Job, component: Component, groups: tuple[Group, ...]) -> None:
        self.groups = groups
        self.layers = tuple(group.name for group in groups)
        self.params: Any = component.parse(job.params["params"])
        self.trajectory: list[dict[str, Any]] = []
        self._job = job
        self._component = component
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def stream(self, name: str) -> np.random.Generator:
        """A NumPy generator of its own for every name; the same for equal root seed, seed and name."""
        return self._job.streams.generator(f"scorer/{self._component.name}", name)

    @cached_property
    def train_settings(self) -> TrainSettings:
        """The recipe's `[train]`."""
        return TrainSettings.model_validate(self._job.params["train"], strict=False)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The pretrained model, frozen, in eval mode; it must be left as it was."""
        from layersig.models.load import borrow_model

        self._must("model", "gradients", "data", "update", "checkpoints", "tasks")
        params = self._job.params
        return self._open.enter_context(
            borrow_model(
                self._job.inputs["model"],
                dtype=params["dtype"],
                device=params["device"],
                quantization=params["quantization"],
                attention=params["attention"],
            )
        )

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        from layersig.models.load import load_tokenizer

        self._must("model", "gradients", "data", "update", "checkpoints", "tasks")
        return load_tokenizer(self._job.inputs["model"])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.device
        return device

    def weight(self, name: str) -> Tensor:
        """The pretrained weight of a unit: its layer's weight as (out, in), or the weights of all its layers flattened.

        Raises:
            UserError: There is no such unit, or the model is quantised.
        """
        import torch

        from layersig.models.layermap import layer_weight

        members = self._group(name).members
        weights = [layer_weight(self.model, layer).detach() for layer in members]
        return weights[0] if len(weights) == 1 else torch.cat([weight.reshape(-1) for weight in weights])

    @cached_property
    def examples(self) -> Examples:
        """The training split."""
        from layersig.data.examples import read_examples

        self._must("data", "gradients", "update", "checkpoints")
        return read_examples(self._job.inputs["data"], "train")

    def optimizer_batches(self, steps: int) -> Sequence[tuple[int, ...]]:
        """Indices of the examples of `steps` optimizer batches, of the recipe's batch size, in the seed's own order."""
        from layersig.data.batches import optimizer_batches

        return optimizer_batches(
            self.examples, batch_size=self.train_settings.batch_size, steps=steps, streams=self._job.streams
        )

    def batches(self, steps: int) -> Iterator[Batch]:
        """The same batches as right-padded tensors."""
        from layersig.data.batches import collate

        for indices in self.optimizer_batches(steps):
            yield collate([self.examples[index] for index in indices])

    @cached_property
    def update(self) -> Update:
        """What the reference training changed, layer by layer, up to the scorer's checkpoint."""
        self._must("update")
        return self._read(self._job.inputs["update"])

    @cached_property
    def checkpoints(self) -> Mapping[float, Update]:
        """The update at every milestone of the reference training, by fraction of the planned steps."""
        self._must("checkpoints")
        folders = self._job.inputs["checkpoints"].glob("at-*")
        found = {float(folder.name.removeprefix("at-")): folder for folder in folders}
        return {fraction: self._read(found[fraction]) for fraction in sorted(found)}

    @contextmanager
    def gated(self, gates: Callable[[], Tensor]) -> Iterator[None]:
        """Run the model with a share of the update: W + gate of its unit * Delta in every layer.

        Args:
            gates: Gives one gate a unit, (len(layers),); asked before every forward pass, so it may hang on
                parameters that are being trained.

        Raises:
            UserError: The update does not cover every layer.
        """
        import torch

        from layersig.models.gating import gated

        unit_of = {layer.name: place for place, group in enumerate(self.groups) for layer in group.members}
        strange = [name for name in self.update.layers if name not in unit_of]
        missing = sorted(unit_of.keys() - set(self.update.layers))
        if strange or missing:
            raise UserError(f"the update and the model differ in their layers, such as {(strange + missing)[0]}")
        place = torch.tensor([unit_of[name] for name in self.update.layers], device=self.device)
        with gated(self.model, self.update, gates().detach()[place]) as live:

            def refresh(*_: object) -> None:
                live.gamma = gates()[place]

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
            parameters: Tensors that require a gradient and that the model's output hangs on.
            batches: Optimizer batches, as from `optimizer_batches`.
            optimization: How they move.
            after_step: Called after every update; True ends the training there.
        """
        from layersig.training.loop import train

        log = train(
            self.model,
            parameters,
            self.examples,
            batches,
            self.train_settings,
            self._job.streams,
            reporter=self._job.reporter,
            device=self.device,
            optimization=optimization,
            after_step=after_step,
        )
        self._job.metrics.extend(step.to_json() for step in log.steps)
        self._count(log.tokens, log.peak_memory)
        return log

    def visit_gradients(self, batches: Sequence[Sequence[int]], visit: Callable[[int, str, Tensor], None]) -> None:
        """Show the gradient of the training loss for every batch and layer: visit(batch, layer, gradient).

        Gradients have the shape in which the model stores the weight. One at a time is in memory where a batch fits
        into one micro-batch.

        Raises:
            UserError: The model is quantised.
        """
        from layersig.models.layermap import layer_parameter
        from layersig.training.gradients import visit_gradients
        from layersig.training.memory import peak_memory

        self._must("gradients")
        parameters = {layer.name: layer_parameter(self.model, layer) for layer in self._members()}
        visit_gradients(
            self.model,
            parameters,
            self.examples,
            batches,
            visit,
            token_budget=self.train_settings.micro_batch_tokens,
            device=self.device,
        )
        tokens = sum(len(self.examples[index]) for indices in batches for index in indices)
        self._count(tokens, peak_memory(self.device))

    def _count(self, tokens: int, peak_memory: int) -> None:
        cost = self._job.cost
        cost["tokens"] = cost.get("tokens", 0) + tokens
        cost["peak_memory"] = max(cost.get("peak_memory", 0), peak_memory)

    def _members(self) -> Iterator[Layer]:
        return (layer for group in self.groups for layer in group.members)

    def _group(self, name: str) -> Group:
        for group in self.groups:
            if group.name == name:
                return group
        raise UserError(f"{self._component.label} asked for {name!r}, which is no layer of the model")

    def _read(self, folder: Path) -> Update:
        from layersig.models.adapters import read_update

        return read_update(folder, LayerMap.from_json(self._job.read("layers", "layers.json")))

    def _must(self, *needs: str) -> None:
        if not self._component.needs & set(needs):
            raise UserError(f"{self._component.label} uses what it did not ask for; add {needs[0]!r} to its `needs`")
