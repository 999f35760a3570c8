"""The frozen values that cross a stage border, and the forms of their lines on disk."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired

from pydantic import FiniteFloat

from layersig.jsonform import Open
from layersig.layers import Unit


class CellForm(Open):
    """The labels of a cell; those that do not apply are absent or null."""

    arm: NotRequired[str | None]
    scorer: NotRequired[str | None]
    data: NotRequired[str | None]
    seed: NotRequired[int | None]
    checkpoint: NotRequired[FiniteFloat | None]


class ScoredForm(Open):
    """A line of `scores.jsonl`."""

    scorer: str
    data: NotRequired[str | None]
    seed: NotRequired[int | None]
    checkpoint: NotRequired[FiniteFloat | None]
    unit: Literal["module", "block", "part"]
    scores: dict[str, FiniteFloat]
    se: NotRequired[dict[str, FiniteFloat] | None]
    coverage: NotRequired[FiniteFloat | None]


UNTRAINED, EVERYTHING = "base", "all"
"""What `ContributionForm.trained` says of the model as it was, and of all units trained together."""


class ContributionForm(Open):
    """A line of a trajectory of `layer-contribution`: losses after one training, in nats per target token."""

    trained: str
    """Name of the unit that was trained alone, or one of those above."""
    chosen_by: list[FiniteFloat]
    """Mean loss on every group of conversations that scores are computed on."""
    fresh: list[FiniteFloat]
    """The same on groups that no score has seen."""


class SelectedForm(Open):
    """A line of `selections.jsonl`."""

    arm: str
    data: NotRequired[str | None]
    seed: NotRequired[int | None]
    layers: list[str]
    trained_parameters: int


class OutcomeForm(Open):
    """A line of `items.jsonl`."""

    task: str
    item: str
    metric: str
    value: FiniteFloat
    weight: NotRequired[FiniteFloat]
    cluster: NotRequired[str | None]


class CorpusForm(Open):
    """A line of `corpus.jsonl`."""

    task: str
    metric: str
    value: FiniteFloat | None
    n: int
    units: int
    items: str
    replicates: list[FiniteFloat | None]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One point of a recipe's grid. Fields that do not apply are None.

    Attributes:
        arm: Name of the arm (`base`, `all-layers`, ...).
        scorer: Name of the scorer.
        data: Name of the training data set.
        seed: Value of the seed axis.
        checkpoint: Fraction of the reference training's planned steps.
    """

    arm: str | None = None
    scorer: str | None = None
    data: str | None = None
    seed: int | None = None
    checkpoint: float | None = None

    @property
    def key(self) -> str:
        """A path-like label, such as `ila/norobots/seed-0/at-1`."""
        parts = [self.arm, self.scorer, self.data]
        if self.seed is not None:
            parts.append(f"seed-{self.seed}")
        if self.checkpoint is not None:
            parts.append(f"at-{self.checkpoint:g}")
        return "/".join(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of every unit by one scorer; higher is more important.

    Attributes:
        unit: What a score covers.
        scores: Score by name of the unit, in model order; finite, none missing.
        se: Standard error of each score where the scorer knows one.
        coverage: Share of the units that have a score of their own, where a ranking was carried over from elsewhere;
            the others rank last. None where the scorer looked at every unit.
    """

    unit: Unit
    scores: Mapping[str, float]
    se: Mapping[str, float] | None = None
    coverage: float | None = None

    def ordered(self) -> tuple[str, ...]:
        """Names from most to least important; ties keep model order, the earlier layer first."""
        return tuple(sorted(self.scores, key=lambda name: -self.scores[name]))

    @property
    def ties(self) -> int:
        """Number of units that share their score with another."""
        values = list(self.scores.values())
        counts = {value: values.count(value) for value in set(values)}
        return sum(count for count in counts.values() if count > 1)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        value: dict[str, Any] = {"unit": str(self.unit), "scores": dict(self.scores)}
        if self.se is not None:
            value["se"] = dict(self.se)
        if self.coverage is not None:
            value["coverage"] = self.coverage
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ranking:
        """The ranking that `to_json` wrote."""
        return cls(Unit(value["unit"]), dict(value["scores"]), value.get("se"), value.get("coverage"))


@dataclass(frozen=True, slots=True)
class Selection:
    """The layers that an arm trains or keeps.

    Attributes:
        layers: Full names in model order.
        parameters: Weights in those layers (of the pretrained model, not of adapters).
    """

    layers: tuple[str, ...]
    parameters: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {"layers": list(self.layers), "trained_parameters": self.parameters}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Selection:
        """The selection that `to_json` wrote."""
        return cls(tuple(value["layers"]), value["trained_parameters"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one item of a task gave.

    Attributes:
        task: Name of the task.
        item: Identifier of the item, the same in every arm.
        metric: `acc`, `acc_norm`, `exact_match`, `loss`, ...
        value: The item's value. For a held-out loss: the item's mean loss per target token, in nats.
        weight: What the item weighs in the task's mean (target tokens for a loss, else 1).
        cluster: Items that are not independent share it (a subject, a conversation); None when each stands alone.
    """

    task: str
    item: str
    metric: str
    value: float
    weight: float = 1.0
    cluster: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One line of `items.jsonl`; weight 1 and a missing cluster are left out."""
        line: dict[str, Any] = {"task": self.task, "item": self.item, "metric": self.metric, "value": self.value}
        if self.weight != 1.0:
            line["weight"] = self.weight
        if self.cluster is not None:
            line["cluster"] = self.cluster
        return line

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        """The outcome that `to_json` wrote."""
        return cls(
            value["task"],
            value["item"],
            value["metric"],
            value["value"],
            value.get("weight", 1.0),
            value.get("cluster"),
        )


PATCHES = "patches.safetensors"
"""File of a checkpoint with the linear maps that stand where blocks were removed."""
ABLATIONS = "ablations"
"""Folder of what was measured on tasks without single blocks, in a scorer's work and in the run folder."""
WHOLE = "whole"
"""Label there of the model with all its blocks."""
_WITHOUT_BLOCK = re.compile("block-([0-9]{1,6})")


def block_label(block: int) -> str:
    """Label there of the model without one block, by its number from 0."""
    return f"block-{block}"


def labelled_block(label: str) -> int | None:
    """The block that a label of `block_label` names; None for any other."""
    found = _WITHOUT_BLOCK.fullmatch(label)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class CorpusValue:
    """A metric that is computed over all items at once (F1, BLEU, a perplexity), and its values on resamples of them.

    Attributes:
        task: Name of the task.
        metric: Name of the metric.
        value: Its value on the items; None where it is not defined on them.
        n: Items.
        units: What was resampled: items, or clusters of items that are not independent.
        items: Digest of the identifiers of the items. Of equal items, every model has the same resamples.
        replicates: Its value on every resample; None where it is not defined there.
    """

    task: str
    metric: str
    value: float | None
    n: int
    units: int
    items: str
    replicates: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """One line of `corpus.jsonl`."""
        return {
            "task": self.task,
            "metric": self.metric,
            "value": self.value,
            "n": self.n,
            "units": self.units,
            "items": self.items,
            "replicates": list(self.replicates),
        }

    @classmethod
    def from_json(cls, value: CorpusForm) -> CorpusValue:
        """The value that `to_json` wrote."""
        return cls(
            task=value["task"],
            metric=value["metric"],
            value=value["value"],
            n=value["n"],
            units=value["units"],
            items=value["items"],
            replicates=tuple(value["replicates"]),
        )


def not_finite(scores: Mapping[str, float]) -> list[str]:
    """Names whose score is NaN or infinite."""
    return [name for name, score in scores.items() if not math.isfinite(score)]
