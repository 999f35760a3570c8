"""The frozen values that cross a stage border, and their one form on disk.

Every record is written as canonical JSON (`dumps`), so that equal results are equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersig.errors import UserError
from layersig.layers import Unit


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
        unit: What a score speaks of.
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
    def from_json(cls, value: Mapping[str, Any]) -> CorpusValue:
        """The value that `to_json` wrote."""
        return cls(**{**value, "replicates": tuple(value["replicates"])})


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON with one spelling: keys in the order given (layers stay in model order), shortest floats, no NaN.

    Raises:
        ValueError: The value holds NaN or an infinity.
    """
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file that layersig wrote, one a line.

    Raises:
        UserError: The file was damaged since.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise _damaged(f"{path}:{number}", error) from error


def read_json(path: Path) -> Any:
    """The value of a JSON file that layersig wrote.

    Raises:
        UserError: The file was damaged since.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(str(path), error) from error


def _damaged(where: str, error: ValueError) -> UserError:
    return UserError(f"{where}: damaged ({error}); run the recipe again to have it rebuilt")


def jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSONL, in their order."""
    return "".join(dumps(row) + "\n" for row in rows)


def not_finite(scores: Mapping[str, float]) -> list[str]:
    """Names whose score is NaN or infinite."""
    return [name for name, score in scores.items() if not math.isfinite(score)]
