"""What a scorer may read: exactly what it declared in `needs`, loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from layersig.errors import UserError
from layersig.jsonform import read_jsonl
from layersig.layers import Group, Layer, LayerMap
from layersig.plugin.components import BUILT_IN, Component
from layersig.recipe.schema import TrainSettings
from layersig.records import ScoredForm
from layersig.stages.job import Job, Reporter
from layersig.stages.kinds import Score

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from layersig.data.batches import Batch
    from layersig.data.examples import Examples
    from layersig.data.pairs import Items
    from layersig.evaluating.loading import ResolvedTask
    from layersig.models.stored_weights import StoredWeights
    from layersig.models.updates import Update


class Inputs:
    """The half of a scorer's context that is read, in force while its `score` runs.

    Attributes:
        layers: Names of the units to score, in model order; with unit `module`, full names of linear modules.
        groups: The same units with their layers.
        params: The scorer's own parameters.
        train_settings: The recipe's `[train]`.
        trajectory: Rows that the scorer wants kept with its scores, such as scores by step.
        coverage: To be set by a scorer that cannot tell every unit apart: the share of units with a score of their own.
    """

    def __init__(self, job: Job[Score], component: Component, groups: tuple[Group, ...]) -> None:
        self.groups = groups
        self.layers = tuple(group.name for group in groups)
        self.params: Any = component.parse(job.spec.params)
        self.trajectory: list[dict[str, Any]] = []
        self.coverage: float | None = None
        self._job = job
        self._component = component
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def stream(self, name: str) -> np.random.Generator:
        """A NumPy generator of its own for every name; the same for equal root seed, seed and name."""
        return self._job.streams.generator(f"scorer/{self._component.name}", name)

    @property
    def label(self) -> str:
        """The scorer in messages, such as `scorer "fisher" (layersig-fisher 0.2.0)`."""
        return self._component.label

    @property
    def root_seed(self) -> int:
        """The recipe's root seed: what is drawn by it alone is the same for all seeds and scorers."""
        return self._job.streams.root

    @property
    def fast(self) -> bool:
        """Whether the model runs on the fast paths (the recipe's `model.fast`)."""
        return self._job.spec.fast

    @property
    def reporter(self) -> Reporter:
        """Where to tell of progress, and what the user should know."""
        return self._job.reporter

    @cached_property
    def unit_of(self) -> Mapping[str, str]:
        """Name of the unit that each layer belongs to, by the layer's name."""
        return {layer.name: group.name for group in self.groups for layer in group.members}

    @cached_property
    def train_settings(self) -> TrainSettings:
        """The recipe's `[train]`."""
        settings = self._job.spec.train
        assert settings is not None, "only scorers that compute ask for it"
        return settings

    @cached_property
    def model(self) -> PreTrainedModel:
        """The pretrained model, frozen, in eval mode; it must be left as it was."""
        from layersig.models.load import borrow_model

        self._must("model", "gradients", "data", "update", "checkpoints", "tasks")
        borrower = "" if self._component.origin == BUILT_IN else self.label
        loading = {**self._job.spec.loading, "borrower": borrower}
        return self._open.enter_context(borrow_model(self._job.inputs["model"], **loading))

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
        """The pretrained weight of a layer as (out, in), or (experts, out, in).

        For a unit of several layers, the weights of all of them, flattened end to end. A scorer that needs `weights`
        gets them from the files, in their type and on the CPU: the model is not loaded.

        Args:
            name: A unit, or a layer of one.

        Raises:
            UserError: There is no such unit or layer, or the model is quantised or split among processes.
        """
        import torch

        from layersig.models.layermap import layer_weight

        members = self._members_of(name)
        if "weights" in self._component.needs:
            weights = [self._stored_weights.read(layer) for layer in members]
        else:
            self._must_be_whole()
            weights = [layer_weight(self.model, layer).detach() for layer in members]
        return weights[0] if len(weights) == 1 else torch.cat([weight.reshape(-1) for weight in weights])

    def beside_weight(self, name: str, size: float) -> float:
        """A size over the norm of the pretrained weight of a unit or layer.

        Raises:
            UserError: As `weight`, or the weight is zero throughout.
        """
        import torch

        weight = self.weight(name)
        norm = float(torch.linalg.vector_norm(weight, dtype=torch.promote_types(weight.dtype, torch.float32)))
        if norm == 0:
            raise UserError(f"{name}: its pretrained weight is zero throughout, so nothing can be measured beside it")
        return size / norm

    @cached_property
    def _stored_weights(self) -> StoredWeights:
        from layersig.models.stored_weights import StoredWeights

        return StoredWeights(self._job.inputs["model"])

    @cached_property
    def examples(self) -> Examples:
        """The training split; the held-out one for a scorer whose parameter `leak` is set.

        Of pairs, the chosen responses. For a scorer whose parameter `prompts` is set, the tokens of prompts are targets
        too.
        """
        examples = self._split
        return examples.with_prompts if getattr(self.params, "prompts", False) else examples

    @cached_property
    def learnt(self) -> Items:
        """What losses and gradients are of, by the objective of `train_settings`: `examples`, or pairs.

        Indices are those of `examples`, which have the chosen responses of pairs.
        """
        from layersig.data.examples import Examples
        from layersig.objectives import learnt

        found = learnt(self.train_settings, self._job.inputs, self._side, self._job.components)
        return self.examples if isinstance(found, Examples) else found

    @property
    def _split(self) -> Examples:
        from layersig.data.examples import read_examples

        self._must("data", "gradients", "update", "checkpoints")
        examples = read_examples(self._job.inputs["data"], self._side)
        if not len(examples) and self._side == "heldout":
            raise UserError(f"{self.label}: leak = true asks for held-out conversations; none is held out")
        return examples

    @property
    def _side(self) -> str:
        return "heldout" if getattr(self.params, "leak", False) else "train"

    @cached_property
    def tasks(self) -> tuple[ResolvedTask, ...]:
        """The selection tasks that the scorer's parameter `tasks` names, with items that evaluation does not show.

        With the scorer's parameter `leak` they are items that evaluation shows.
        """
        from layersig.evaluating.loading import load_selection_task, load_task
        from layersig.streams import Streams

        self._must("tasks")
        root = Streams(self._job.streams.root)
        shown: set[str] = set()
        for number, settings in enumerate(self._job.spec.evaluated):
            task = load_task(settings, self._job.inputs[f"evaluated/{number}"], root, self._job.spec.same_items)
            shown |= {item.text for items in task.texts().values() for item in items}
        return tuple(
            load_selection_task(settings, self._job.inputs[f"task/{number}"], root, shown, leak=self.params.leak)
            for number, settings in enumerate(self.params.tasks)
        )

    def optimizer_batches(self, steps: int, among: Sequence[int] | None = None) -> Sequence[tuple[int, ...]]:
        """Indices of the examples of `steps` optimizer batches, of the recipe's batch size, in the seed's own order.

        Args:
            steps: Number of batches.
            among: The examples to draw from, by index; all of them when None.
        """
        from layersig.data.batches import optimizer_batches

        indices = range(len(self.examples)) if among is None else among
        batches = optimizer_batches(
            indices, batch_size=self.train_settings.batch_size, steps=steps, streams=self._job.streams
        )
        return [tuple(indices[place] for place in batch) for batch in batches]

    def draw(self, count: int) -> tuple[int, ...]:
        """Indices of `count` different examples, or of all there are, in the seed's own order."""
        from layersig.data.batches import optimizer_batches

        steps = min(count, len(self.examples))
        batches = optimizer_batches(self.examples, batch_size=1, steps=steps, streams=self._job.streams)
        return tuple(index for (index,) in batches)

    def batches(self, steps: int) -> Iterator[Batch]:
        """The batches of `optimizer_batches` as right-padded tensors."""
        from layersig.data.batches import collate

        for indices in self.optimizer_batches(steps):
            yield collate([self.examples[index] for index in indices])

    @cached_property
    def update(self) -> Update:
        """What the reference training changed, layer by layer, up to the scorer's checkpoint.

        Raises:
            UserError: It had changed nothing yet, so that all scores would be equal.
        """
        self._must("update")
        update, cell = self._read(self._job.inputs["update"]), self._job.cell
        if cell.checkpoint is not None and not any(update.norm(layer) for layer in update.layers):
            raise UserError(
                f"scorers.{cell.scorer}.checkpoint: {cell.checkpoint:g} of the training lies in the beginning of the "
                "warm-up, where the learning rate is 0, so no layer has moved; read a later checkpoint, or set "
                "train.warmup_ratio to 0"
            )
        return update

    @cached_property
    def checkpoints(self) -> Mapping[float, Update]:
        """The update at every milestone of the reference training, by fraction of the planned steps."""
        self._must("checkpoints")
        folders = self._job.inputs["checkpoints"].glob("at-*")
        found = {float(folder.name.removeprefix("at-")): folder for folder in folders}
        return {fraction: self._read(found[fraction]) for fraction in sorted(found)}

    @property
    def rankings(self) -> Iterator[ScoredForm]:
        """The lines of the `scores.jsonl` that the recipe gives as `source`."""
        self._must("rankings")
        return read_jsonl(self._job.inputs["rankings"], ScoredForm)

    def _members_of(self, name: str) -> tuple[Layer, ...]:
        for group in self.groups:
            if group.name == name:
                return group.members
            if self.unit_of.get(name) == group.name:
                return tuple(layer for layer in group.members if layer.name == name)
        raise UserError(f"{self.label} asked for {name!r}, which is no layer of the model")

    def _read(self, folder: Path) -> Update:
        from layersig.models.update_folder import read_update

        layers = LayerMap.from_json(self._job.read("layers", "layers.json"))
        return read_update(folder, layers, lambda: self.model)

    def _must_be_whole(self) -> None:
        from layersig.distributed.world import world

        if world().sharded:
            raise UserError(
                f"{self._component.label} reads whole weights or their gradients, which no process has under --shard; "
                "leave --shard away, or this scorer"
            )

    def _must(self, *needs: str) -> None:
        if not self._component.needs & set(needs):
            raise UserError(f"{self.label} uses what it did not ask for; add {needs[0]!r} to its `needs`")
