"""The frozen values that cross a stage border, and their one form on disk.

Every record is written as canonical JSON (`dumps`), so that equal results are equal bytes. What is read back is checked
against a form: a `TypedDict` beside whatever writes it, with the keys that readers rely on. Further keys are allowed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar, cast

from pydantic import ConfigDict, FiniteFloat, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from layersig.errors import UserError
from layersig.layers import Unit

Form = TypeVar("Form")
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""A sha256 in hex digits."""
Number = int | FiniteFloat
"""A finite number as it was written."""


class Damaged(UserError):
    """A file that layersig wrote does not hold what it wrote.

    Args:
        where: The file, with the line where it has lines.
        why: What is wrong with it.
    """

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: damaged ({why}); run the recipe again to have it rebuilt")
        self.where = where
        self.why = why


@with_config(ConfigDict(extra="allow"))
class Open(TypedDict):
    """A form whose values may have further keys."""


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


class IncidentsForm(Open):
    """What happened to prompts and answers of a task, in numbers of items."""

    prompts_cut: NotRequired[int]
    answers_cut: NotRequired[int]
    answers_empty: NotRequired[int]
    ties: NotRequired[int]


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


@dataclass(frozen=True, slots=True)
class Incidents:
    """What happened on the way to the scores of a task, in numbers of items; None where its answers cannot meet it.

    Attributes:
        prompts_cut: A prompt lost its beginning, because the model's context is too short for it; or, in a chat, there
            was no room for an answer.
        answers_cut: The answer was cut at its largest number of tokens, or at the end of the context.
        answers_empty: Nothing but white space was answered.
        ties: Several choices have the highest log-likelihood, exactly; the first of them is taken, as in lm-eval.
    """

    prompts_cut: int = 0
    answers_cut: int | None = None
    answers_empty: int | None = None
    ties: int | None = None

    def __add__(self, other: Incidents) -> Incidents:
        """The sums."""
        return Incidents(
            self.prompts_cut + other.prompts_cut,
            _sum(self.answers_cut, other.answers_cut),
            _sum(self.answers_empty, other.answers_empty),
            _sum(self.ties, other.ties),
        )

    def many(self, items: int) -> Iterator[str]:
        """A sentence without its end for each kind that more than `INCIDENT_SHARE` of the items met."""
        for name, value in asdict(self).items():
            if value is not None and value > INCIDENT_SHARE * items:
                yield f"{value} of {items} {_INCIDENTS[name]}"

    def to_json(self) -> dict[str, int]:
        """A JSON object that `from_json` reads back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: IncidentsForm) -> Incidents:
        """The record that `to_json` wrote."""
        return cls(value.get("prompts_cut", 0), value.get("answers_cut"), value.get("answers_empty"), value.get("ties"))


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


INCIDENT_SHARE = 0.05
"""Beyond this share of its items, an incident is worth a warning (ours)."""
_INCIDENTS = {
    "prompts_cut": "prompts do not fit into the model's context and lost their beginning",
    "answers_cut": "answers were cut before they ended",
    "answers_empty": "answers are empty",
    "ties": "items have several likeliest choices, of which the first was taken",
}


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


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


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON with one spelling: keys in the order given (layers stay in model order), shortest floats, no NaN.

    Raises:
        ValueError: The value holds NaN or an infinity.
    """
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)


def parse_json(raw: bytes, form: type[Form]) -> Form:
    """A JSON value of a form; keys that the form does not name are kept.

    Raises:
        ValueError: The bytes are no JSON of that form; one line says where and why.
    """
    try:
        value: Form = _adapter(cast(Hashable, form)).validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        what = first["msg"].replace("Input should", "must")
        raise ValueError(f"{place}: {what}" if place else what) from None
    return value


def read_json(path: Path, form: type[Form]) -> Form:
    """The value of a JSON file that layersig wrote.

    Args:
        path: The file.
        form: What it must hold.

    Raises:
        Damaged: It holds something else.
        OSError: There is no such file, or it cannot be read.
    """
    try:
        return parse_json(path.read_bytes(), form)
    except (ValueError, IsADirectoryError) as error:
        raise Damaged(str(path), str(error)) from error


def read_jsonl(path: Path, form: type[Form] = dict[str, Any]) -> Iterator[Form]:  # type: ignore[assignment]
    """The objects of a JSONL file that layersig wrote, one a line.

    Args:
        path: The file.
        form: What every line must hold.

    Raises:
        Damaged: A line holds something else.
        OSError: There is no such file, or it cannot be read.
    """
    try:
        lines = path.open("rb")
    except IsADirectoryError as error:
        raise Damaged(str(path), str(error)) from error
    with lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_json(line, form)
            except ValueError as error:
                raise Damaged(f"{path}:{number}", str(error)) from error


def read_rows(path: Path, form: type[Form]) -> list[Form]:
    """All objects of a JSONL file that layersig wrote.

    One call of the parser for the whole file: a study has a million outcomes, and a call each takes minutes.

    Raises:
        Damaged: A line holds something else.
        OSError: There is no such file, or it cannot be read.
    """
    try:
        return parse_json(b"[" + path.read_bytes().rstrip(b"\n").replace(b"\n", b",") + b"]", list[form])  # type: ignore[valid-type]
    except (ValueError, IsADirectoryError):
        return list(read_jsonl(path, form))  # it names the line


@cache
def _adapter(form: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, form))


def jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSONL, in their order."""
    return "".join(dumps(row) + "\n" for row in rows)


def not_finite(scores: Mapping[str, float]) -> list[str]:
    """Names whose score is NaN or infinite."""
    return [name for name, score in scores.items() if not math.isfinite(score)]
