"""Whether the stages of a study fit on GPUs of common sizes, and what would make them fit (see `gpu_memory`).

3 % of a card stay free. Where the device chooses how many tokens go through the model at once, the fewest count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.gpu_memory import GpuMemory, Need, Way
from layersig.stages.kinds import Score, Training
from layersig.training.footprint import planned_tokens

if TYPE_CHECKING:
    from layersig.training.counted import Counted

CARDS = {"24 GB": 24_564, "40 GB": 40_960, "80 GB": 81_920, "141 GB": 143_771}
"""MiB as the driver shows them: of an RTX 4090, an A100 of either size, and an H200."""
_FREE = 0.03
_BUDGETS = (16_384, 8192, 4096, 2048, 1024)


@dataclass(frozen=True, slots=True)
class Fit:
    """How equal stages fit.

    Attributes:
        stages: Their ids.
        bf16: What one needs; None where it was not counted.
        nf4: The same over 4-bit weights; None where they are impossible.
        cards: By card, how it fits: `bf16`, `NF4`, or the changes that make it fit; None where nothing does.
    """

    stages: tuple[str, ...]
    bf16: Need
    nf4: Need | None
    cards: dict[str, str | None] = field(default_factory=dict)


def usable(card: str) -> float:
    """Bytes of a card that a stage may take."""
    return (1 - _FREE) * 2.0**20 * CARDS[card]


def fits(facts: Facts, counts: dict[object, Counted] | None = None) -> list[Fit]:
    """How the stages that are left fit on each card; equal stages together, in their order.

    Args:
        facts: With a model, or a configuration of one.
        counts: What was counted before, for other recipes with the same models.
    """
    return Cards(facts, {} if counts is None else counts).fits()


class Cards:
    """What the stages of a study need on a GPU.

    Args:
        facts: With a model, or a configuration of one.
        counts: What was counted before, for other recipes with the same models.
    """

    def __init__(self, facts: Facts, counts: dict[object, Counted]) -> None:
        self._facts, self.memory = facts, GpuMemory(facts, counts)

    def needs(self) -> list[tuple[Stage, list[str], Need, Need | None]]:
        """Of equal stages the first, the ids of all, and what one needs in bf16 and over 4-bit weights."""
        groups: dict[tuple[Need, Need | None], tuple[Stage, list[str]]] = {}
        for stage in self._facts.known.graph.stages:
            if stage.id in self._facts.known.cached or not self.memory.runs(stage):
                continue
            way = self.memory.as_is(stage)
            half, quantized = self.memory.need(stage, Way(way.settings, False, way.tokens)), None
            if not self.memory.is_whole(stage):
                quantized = self.memory.need(stage, Way(way.settings, True, way.tokens))
            groups.setdefault((half, quantized), (stage, []))[1].append(stage.id)
        return [(stage, ids, half, quantized) for (half, quantized), (stage, ids) in groups.items()]

    def need(self, stage: Stage, **changes: Any) -> Need:
        """What a stage needs in bf16 with other settings of its training."""
        settings = self.memory.as_is(stage).settings.model_copy(update=changes)
        return self.memory.need(stage, Way(settings, False, planned_tokens(settings.micro_batch_tokens)))

    def fits(self) -> list[Fit]:
        """See `fits`."""
        found = []
        for stage, ids, half, quantized in self.needs():
            cards = {name: self._how(stage, half, quantized, usable(name)) for name in CARDS}
            found.append(Fit(tuple(ids), half, quantized, cards))
        return found

    def _how(self, stage: Stage, half: Need, quantized: Need | None, room: float) -> str | None:
        nf4 = self._facts.recipe.model.quantization == "nf4"
        as_is = quantized if nf4 else half
        if as_is is not None and as_is.total <= room:
            return "NF4" if nf4 else "bf16"
        for way in self._ways(stage):
            if self.memory.need(stage, way).total <= room:
                return "with " + ", ".join(way.said)
        return None

    def _ways(self, stage: Stage) -> Iterator[Way]:
        """Changes, each in addition to those before it, the least harmful first."""
        way = self.memory.as_is(stage)
        trains = isinstance(stage.spec, Training | Score)
        if trains and not way.settings.gradient_checkpointing:
            said = (*way.said, "train.gradient_checkpointing = true")
            way = Way(way.settings.model_copy(update={"gradient_checkpointing": True}), way.nf4, way.tokens, said)
            yield way
        key = "train.micro_batch_tokens" if trains else "evaluate.batch_tokens"
        start, budgets = way, [way]
        for tokens in _BUDGETS:
            if tokens < start.tokens and (tokens >= self.memory.item(way.settings) or not trains):
                settings = start.settings.model_copy(update={"micro_batch_tokens": tokens})
                way = Way(settings, start.nf4, tokens, (*start.said, f"{key} = {tokens}"))
                budgets.append(way)
                yield way
        if self.memory.is_whole(stage):
            for optimizer in ("adamw-bf16", "adamw-8bit", "paged-adamw-8bit"):
                for before in budgets:
                    settings = before.settings.model_copy(update={"optimizer": optimizer})
                    yield Way(settings, False, before.tokens, (*before.said, f'train.optimizer = "{optimizer}"'))
        elif not way.nf4:
            first = self.memory.as_is(stage)
            yield Way(first.settings, True, first.tokens, ('model.quantization = "nf4"',))
            yield Way(way.settings, True, way.tokens, (*way.said, 'model.quantization = "nf4"'))
