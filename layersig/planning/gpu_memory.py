"""What the stages of a study hold in memory on a GPU, from shapes alone.

All figures are estimates. Trainings are counted by `layersig.training.counted`, on the meta device, for models of two
depths. Assumptions: rows as long as the longest conversation, or twice that where an example is a pair; 5 % of what
passes hold for the rounding of torch's allocator; 0.6 GiB for the CUDA context and its libraries. NF4 weights take
0.516 bytes a value, embeddings and head stay as they are, and a pass holds one weight of the largest layer in the type
of the computation. Where the device chooses how many tokens go through the model at once, memory is that of the fewest,
and blocks compute again what they would keep: what a stage needs at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from layersig.layers import Layer
from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.memory import batch_tokens
from layersig.planning.trainings import settings_of
from layersig.recipe.schema import LEAST_AUTO_TOKENS, MOMENT_BYTES, TrainSettings
from layersig.stages.kinds import Training
from layersig.stages.spec import ReadingSpec
from layersig.training.footprint import BUFFER, NF4_BYTES, planned_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from layersig.training.counted import Counted

_CONTEXT = 0.6 * 2**30
_ROUNDING = 0.05
_LOGITS = 2**30
"""Bytes of the logits that an evaluation holds at a time, see `layersig.fast.head`."""
_DEPTHS = (2, 6)
"""Blocks of the models that are counted, from which those of the whole model follow."""
_SUMMED = frozenset({"gradient-norm", "adalora-sensitivity"})
"""Scorers that sum gradients of weights."""
_GRADIENTS = frozenset({"gradient-norm", "adalora-sensitivity", "ila", "update-taylor", "path-attribution"})


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a stage holds on a GPU.

    Attributes:
        weights: The model.
        held: What else it holds throughout: what is trained and its moments, or an update.
        passing: What passes hold at their peak.
    """

    weights: float
    held: float
    passing: float

    @property
    def total(self) -> float:
        """All of it, with the context."""
        return self.weights + self.held + (1 + _ROUNDING) * self.passing + _CONTEXT


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a stage: what is changed of it, in words and in values."""

    settings: TrainSettings
    nf4: bool
    tokens: int
    said: tuple[str, ...] = ()


def spread(layers: Sequence[Layer], share: float) -> list[Layer]:
    """A share of the layers, evenly spread over the model."""
    count = max(1, round(share * len(layers)))
    return [layers[int((number + 0.5) * len(layers) / count)] for number in range(count)]


def _least_held(stage: Stage) -> int:
    """The fewest tokens that a stage without gradients can hold: one answer at its longest, where it writes."""
    written = stage.params.get("generate") or stage.params.get("answers") or {}
    return max(LEAST_AUTO_TOKENS, int(written.get("max_new_tokens", 0)))


def _extrapolated(counted: Sequence[Counted], few: int, more: int, depth: int) -> Counted:
    from layersig.training.counted import Counted

    if len(counted) == 1:
        return counted[0]
    one, other = counted

    def at(first: int, second: int) -> int:
        return round(first + (second - first) / (more - few) * (depth - few))

    return Counted(at(one.weights, other.weights), at(one.trained, other.trained), at(one.passing, other.passing))


class GpuMemory:
    """What the stages of a study need on a GPU.

    Args:
        facts: With a model, or a configuration of one.
        counts: What was counted before, for other recipes with the same models.
    """

    def __init__(self, facts: Facts, counts: dict[object, Counted]) -> None:
        self._facts, self._counts = facts, counts
        self._made: dict[int, PreTrainedModel] = {}

    def runs(self, stage: Stage) -> bool:
        """Whether a stage runs the model."""
        return isinstance(stage.spec, Training | ReadingSpec) or (stage.kind == "score" and stage.computes)

    def is_whole(self, stage: Stage) -> bool:
        """Whether a stage trains weights themselves."""
        return isinstance(stage.spec, Training) and self._facts.method(settings_of(stage)).result == "checkpoint"

    def as_is(self, stage: Stage) -> Way:
        """How a stage runs as the recipe says."""
        nf4 = self._facts.recipe.model.quantization == "nf4"
        if isinstance(stage.spec, ReadingSpec):
            asked = batch_tokens(stage)
            return Way(self._facts.recipe.train, nf4, _least_held(stage) if asked == "auto" else asked)
        settings = settings_of(stage)
        if settings.micro_batch_tokens == "auto":
            least = {"micro_batch_tokens": LEAST_AUTO_TOKENS, "gradient_checkpointing": True}
            settings = settings.model_copy(update=least)
        return Way(settings, nf4, planned_tokens(settings.micro_batch_tokens))

    def need(self, stage: Stage, way: Way) -> Need:
        """What a stage needs if it runs in some way."""
        weights = self._weights(nf4=way.nf4)
        if isinstance(stage.spec, Training):
            counted = self._count(self._facts.share(stage), way.settings, whole=self.is_whole(stage))
            moments = MOMENT_BYTES[way.settings.optimizer] * counted.trained / 4
            return Need(weights, counted.trained + moments, counted.passing + self._unpacked(way))
        if stage.kind == "score":
            return self._score(stage, way, weights)
        method = self._facts.method(self._facts.recipe.train)
        work = method.create()
        adapter = 0.0
        if method.result == "adapter":
            adapter = 4.0 * sum(work.stored_values(each, way.settings) for each in self._every)
        shapes = self._facts.shapes
        assert shapes is not None
        inside = 2.0 * way.tokens * (4 * shapes.hidden + shapes.inner)
        return Need(weights, adapter, inside + 2.0 * shapes.cached * way.tokens + _LOGITS + self._unpacked(way))

    def _score(self, stage: Stage, way: Way, weights: float) -> Need:
        kind = stage.params["scorer"]
        lora = way.settings.model_copy(update={"method": "lora"})
        update = 0.0
        if "update" in stage.inputs:
            trained = self._facts.recipe.training_of(self._facts.recipe.scorers[stage.cell.scorer or ""])
            work = self._facts.method(trained).create()
            update = 2.0 * sum(work.update_values(each, trained) for each in self._every)
        if kind not in _GRADIENTS:
            lora = lora.model_copy(update={"gradient_checkpointing": True})
        counted = self._count(1.0, lora, whole=False)
        passing = counted.passing - counted.trained + self._unpacked(way)  # gates have hardly any gradient
        if kind in _SUMMED:
            sizes = [4.0 * each.parameters for each in self._every]
            passing += min(sum(sizes), float(BUFFER)) + max(sizes)
        return Need(weights, update, passing)

    def _weights(self, *, nf4: bool) -> float:
        assert self._facts.shapes is not None
        linear = sum(each.parameters for each in self._facts.shapes.layers)
        return 2.0 * self._facts.shapes.stored - ((2.0 - NF4_BYTES) * linear if nf4 else 0.0)

    def _unpacked(self, way: Way) -> float:
        return 2.0 * max(each.parameters for each in self._every) if way.nf4 else 0.0

    def _count(self, share: float, settings: TrainSettings, *, whole: bool) -> Counted:
        """What a training of a share of the layers holds, from models of two depths: every block adds the same."""
        names = {"rank", "dropout", "gradient_checkpointing", "micro_batch_tokens", "batch_size"}
        key = (
            self._facts.configuration,
            self._facts.recipe.layers.head,
            self.item(settings),
            round(share, 3),
            whole,
            settings.adalora.init_r if settings.method == "adalora" else None,
            tuple(sorted(settings.model_dump(include=names).items())),
        )
        if key not in self._counts:
            assert self._facts.shapes is not None
            depth = self._facts.shapes.depth
            few, more = (min(each, depth) for each in _DEPTHS)
            counted = [self._of_depth(each, share, settings, whole=whole) for each in sorted({few, more})]
            self._counts[key] = _extrapolated(counted, few, more, depth)
        return self._counts[key]

    def _of_depth(self, depth: int, share: float, settings: TrainSettings, *, whole: bool) -> Counted:
        from layersig.models.layermap import layer_map
        from layersig.training.counted import count_training

        model = self._models(depth)
        layers = spread(list(layer_map(model, head=self._facts.recipe.layers.head)), share)
        return count_training(model, layers, settings, whole=whole, length=self.item(settings))

    def _models(self, depth: int) -> PreTrainedModel:
        import torch

        from layersig.models.layermap import model_of_configuration

        assert self._facts.configuration is not None
        if depth not in self._made:
            model = model_of_configuration(self._facts.configuration, depth=depth)
            self._made[depth] = model.to(torch.bfloat16).eval().requires_grad_(False)
        return self._made[depth]

    @cached_property
    def _every(self) -> list[Layer]:
        from layersig.models.layermap import layer_map_of_checkpoint

        assert self._facts.configuration is not None
        return list(layer_map_of_checkpoint(self._facts.configuration, head=self._facts.recipe.layers.head))

    def item(self, settings: TrainSettings) -> int:
        """Tokens of the largest thing that no cut of a batch divides: a conversation, or both rows of a pair."""
        return self.length * (2 if self._facts.learns_pairs(settings.objective) else 1)

    @cached_property
    def length(self) -> int:
        """Tokens of the longest conversation that a training reads; the limit where they are not known."""
        return max(self._facts.longest(each.name) or each.max_tokens for each in self._facts.recipe.data)
