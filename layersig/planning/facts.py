"""What a plan knows of the things that a stage reads: rows, tokens, layers that are chosen, items of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layersig.data.pairs import REJECTED
from layersig.jsonform import read_json
from layersig.layers import Layer, LayerMap, LayerMapForm
from layersig.pipeline import Stage
from layersig.planning.assumptions import Assumptions
from layersig.planning.known import Known
from layersig.planning.shapes import Shapes, shapes
from layersig.plugin.components import Component
from layersig.recipe.schema import Recipe, TrainSettings
from layersig.streams import Streams

if TYPE_CHECKING:
    from layersig.data.examples import Examples

_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Facts:
    """The things that stages read, as far as they are known.

    Attributes:
        known: What lies on this machine.
        assumed: What the user stated instead.
        config: Folder with the configuration of a model that is not on this machine.
        counts_tasks: Whether the items of tasks are counted, which takes seconds.
    """

    known: Known
    assumed: Assumptions
    config: Path | None = None
    counts_tasks: bool = True

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.known.recipe

    @cached_property
    def model(self) -> Path | None:
        """Folder of the model; None where it is not on this machine."""
        source = self.known.sources.get("source/model")
        return None if source is None else source.path

    @property
    def configuration(self) -> Path | None:
        """Folder with the configuration of the model."""
        return self.config if self.model is None else self.model

    @cached_property
    def shapes(self) -> Shapes | None:
        """Shapes of the model; None where its configuration is not on this machine."""
        return None if self.configuration is None else shapes(self.configuration)

    @property
    def width(self) -> int:
        """Bytes of a number of the compute type."""
        from layersig.models.devices import pick_device, pick_dtype

        dtype = pick_dtype(self.recipe.model.dtype, pick_device(self.recipe.model.device)).dtype
        return _BYTES[str(dtype).removeprefix("torch.")]

    @cached_property
    def layers(self) -> LayerMap | None:
        """The layers that the recipe counts."""
        node = self.known.nodes.get("layers")
        return None if node is None else LayerMap.from_json(read_json(node.path / "layers.json", LayerMapForm))

    def streams(self, seed: int | None = None) -> Streams:
        """Random streams of a seed, or of the whole recipe."""
        return Streams(self.recipe.root_seed, seed)

    @cached_property
    def _splits(self) -> dict[tuple[str, str], Examples]:
        return {}

    def examples(self, data: str, split: str) -> Examples | None:
        """A split of a prepared data set: `train` or `heldout`; None where it cannot be prepared yet."""
        node = self.known.nodes.get(f"data/{data}")
        if node is None:
            return None
        if (data, split) not in self._splits:
            from layersig.data.examples import read_examples

            self._splits[data, split] = read_examples(node.path, split)
        return self._splits[data, split]

    def sides(self, data: str, split: str, objective: str) -> list[Examples] | None:
        """What an objective reads of a split: the conversations, or those with chosen and with rejected responses."""
        names = [split, *([f"{split}{REJECTED}"] if self.learns_pairs(objective) else [])]
        found = [examples for name in names if (examples := self.examples(data, name)) is not None]
        return found if len(found) == len(names) else None

    def learns_pairs(self, objective: str) -> bool:
        """Whether an objective learns from pairs."""
        return "pairs" in self.known.loaded.components.get("objective", objective).reads

    def lengths(self, data: str, objective: str) -> Sequence[int] | None:
        """Tokens of every training conversation, or pair."""
        sides = self.sides(data, "train", objective)
        return None if sides is None else np.sum([side.lengths for side in sides], axis=0).tolist()

    def longest(self, data: str) -> int | None:
        """Tokens of the longest training conversation, rejected responses included; None where they are not known."""
        sides = self.sides(data, "train", self.recipe.train.objective)
        return None if not sides else max(int(side.lengths.max(initial=0)) for side in sides)

    def rows(self, data: str, split: str) -> int | None:
        """Conversations of a split: counted, or from the rows that are assumed; None where neither is known."""
        examples = self.examples(data, split)
        if examples is not None:
            return len(examples)
        settings = next(each for each in self.recipe.data if each.name == data)
        total = self.assumed.rows.get(data)
        if settings.limit is not None:
            total = settings.limit if total is None else min(settings.limit, total)
        if total is None:
            return None
        if settings.generate is not None:
            total *= settings.generate.samples
        heldout = settings.heldout if isinstance(settings.heldout, int) else round(settings.heldout * total)
        if split == "heldout":
            return min(heldout, total)
        trained = max(1, (total - heldout) // (1 if settings.half is None else 2))
        return trained if settings.train_limit is None else min(trained, settings.train_limit)

    def method(self, settings: TrainSettings) -> Component:
        """The tuning method of a training."""
        return self.known.loaded.components.get("method", settings.method)

    def chosen(self, stage: Stage) -> list[Layer] | None:
        """The layers that the selection of a stage holds; None before it is made."""
        node = self.known.nodes.get(stage.inputs["selection"].node) if "selection" in stage.inputs else None
        layers = self.layers
        if node is None or layers is None or not (node.path / "selection.json").is_file():
            return None
        names = read_json(node.path / "selection.json", dict[str, Any])["layers"]
        return [layers.by_name[name] for name in names if name in layers.by_name]

    def share(self, stage: Stage) -> float:
        """The share of the layers that a stage trains: counted, or as the policy of its arm says; 1 where it does not.

        Args:
            stage: A training, or a graft or pruning, of an arm.
        """
        if stage.kind == "reference":
            return 1.0
        if stage.kind == "recover":
            left, scope = 1.0 - self.share_of(stage.cell.arm or ""), stage.params.get("scope", "all")
            if scope == "all" or self.shapes is None:
                return left
            blocks = 2 if scope == "cut" else int(scope.removeprefix("last-"))  # two blocks are next to one cut
            return min(left, blocks / self.shapes.depth)
        chosen = self.chosen(stage)
        if chosen is not None and self.layers is not None:
            return sum(layer.parameters for layer in chosen) / sum(layer.parameters for layer in self.layers)
        return self.share_of(stage.cell.arm or "")

    def share_of(self, arm: str) -> float:
        """The share of the layers that the policy of an arm takes, by its parameters."""
        found = next((each for each in self.recipe.arms if each.name == arm), None)
        if found is None:
            return 1.0
        params: Mapping[str, Any] = found.select.params
        if "like" in params:
            return self.share_of(params["like"])
        if (count := params.get("count")) is not None:
            return min(1.0, count / self.shapes.depth) if self.shapes is not None else 1.0
        fraction = float(params.get("fraction") or 1.0)
        return 1.0 - fraction if found.select.kind == "freeze" else fraction

    def budget(self, stage: Stage) -> float | None:
        """The share of the time of all layers that the policy of an arm allows, before its layers are chosen."""
        arm = next((each for each in self.recipe.arms if each.name == stage.cell.arm), None)
        if stage.kind != "tune" or arm is None or arm.select.kind != "cost-aware" or self.chosen(stage) is not None:
            return None
        return float(arm.select.params["share"]) if arm.select.params.get("of", "time") == "time" else None

    def reached(self, stage: Stage) -> float:
        """Share of a pass from the lowest trained block upwards, through which gradients go back: blocks and head."""
        chosen, data = self.chosen(stage), stage.cell.data or ""
        if chosen is None or self.shapes is None or not chosen:
            return 1.0
        depth = self.shapes.depth
        lowest = min(depth if layer.block is None else layer.block for layer in chosen)
        examples = self.examples(data, "train")
        asked = 1.0 if examples is None else float(examples.targets.mean())
        head, blocks = asked * self.shapes.head, self.shapes.products
        return (head + blocks * (1.0 - lowest / depth)) / (head + blocks)

    def drawn(self, data: str, seed: int | None, objective: str, **length: Any) -> tuple[int, float | None]:
        """Optimizer steps and tokens of the batches that a training or a scorer draws, tokens None where unknown.

        Args:
            data: The data set.
            seed: Seed of the order.
            objective: What is learnt of them.
            length: `batch_size`, and `epochs` or `steps`, as `optimizer_batches` takes them.
        """
        return self.drawn_from(self.lengths(data, objective), self.rows(data, "train"), seed, **length)

    def drawn_from(
        self, lengths: Sequence[int] | None, rows: int | None, seed: int | None, **length: Any
    ) -> tuple[int, float | None]:
        """The same of conversations of these lengths, or of so many."""
        from layersig.data.batches import optimizer_batches, step_count

        if lengths is not None:
            batches = optimizer_batches(lengths, streams=self.streams(seed), **length)
            drawn = np.concatenate([np.asarray(each) for each in batches])
            return len(batches), float(np.asarray(lengths)[drawn].sum())
        if rows is None:
            return length.get("steps") or 0, None
        return step_count(rows, **length), None
