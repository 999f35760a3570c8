"""The answers of arms and the judge's verdicts, and their form on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired

from pydantic import FiniteFloat
from typing_extensions import TypedDict

from layersig.jsonform import read_jsonl
from layersig.judging.prompts import Exchange, JudgedTurn, Prompt

SCORE = "judge_score"
"""The metric: what the judge gives an answer, from 1 to 10."""
Order = Literal["alone", "arm-first", "arm-second"]


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """A question and one arm's answers to its turns.

    Attributes:
        set: Name of the set of questions.
        question: Id of the question.
        category: Its category.
        turns: What was asked.
        answers: What was answered, an answer a turn.
        finish: How each answer ended: `stop`, or cut by `length`, `context` or `no-room`.
        tokens: Tokens of each answer.
        reference: A reference answer to every turn; None where there is none.
    """

    set: str
    question: str
    category: str
    turns: tuple[str, ...]
    answers: tuple[str, ...]
    finish: tuple[str, ...]
    tokens: tuple[int, ...]
    reference: tuple[str, ...] | None

    def shown(self, turn: int) -> JudgedTurn:
        """What the judge is to see of a turn, counted from 1."""
        exchanges = tuple(map(Exchange, self.turns[:turn], self.answers[:turn]))
        return JudgedTurn(exchanges, (self.reference or ())[:turn])

    def item(self, turn: int) -> str:
        """The item of `items.jsonl` that a turn is, counted from 1."""
        return f"{self.question}/turn-{turn}" if len(self.turns) > 1 else self.question

    def to_json(self) -> dict[str, Any]:
        """A line of `answers.jsonl`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AnswerRecord:
        """The record that `to_json` wrote."""
        values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in value.items()}
        return cls(**values)


class Key(NamedTuple):
    """Which verdict: the question and turn, the number of the repeat from 0, the order in which a pair is shown."""

    set: str
    question: str
    turn: int
    repeat: int
    order: Order


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with all that led to it.

    Attributes:
        key: Which verdict it is.
        category: Category of the question.
        verdict: A rating from 1 to 10; or `first`, `second` or `tie`; None where none could be had: it is invalid.
        prompt: What was asked first.
        replies: What the judge wrote, an entry an attempt.
        finish: Why each of them ended, see `Reply`; only one that ended by itself, with `stop`, is read.
        refused: Why the endpoint refused the prompt; None where it took it.
        model: The model that the endpoint says judged.
        created: When, as the endpoint says, in UTC.
        tokens: Tokens of all attempts, as the endpoint counts them.
    """

    key: Key
    category: str
    verdict: float | str | None
    prompt: Prompt
    replies: tuple[str, ...]
    finish: tuple[str, ...] = ()
    refused: str | None = None
    model: str | None = None
    created: str | None = None
    tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        """A line of `judgements.jsonl`."""
        rest = asdict(self)
        del rest["key"]
        return {**self.key._asdict(), **rest}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Judgement:
        """The judgement that `to_json` wrote."""
        rest = {name: each for name, each in value.items() if name not in Key._fields}
        found = cls(Key(*(value[name] for name in Key._fields)), **rest)
        return replace(found, replies=tuple(found.replies), finish=tuple(found.finish))


class AnswerForm(TypedDict):
    """A line of `answers.jsonl`."""

    set: str
    question: str
    category: str
    turns: list[str]
    answers: list[str]
    finish: list[str]
    tokens: list[int]
    reference: list[str] | None


class JudgementForm(TypedDict):
    """A line of `judgements.jsonl`."""

    set: str
    question: str
    turn: int
    repeat: int
    order: Order
    category: str
    verdict: FiniteFloat | Literal["first", "second", "tie"] | None
    prompt: Any
    replies: list[str]
    finish: NotRequired[list[str]]
    refused: NotRequired[str | None]
    model: NotRequired[str | None]
    created: NotRequired[str | None]
    tokens: NotRequired[int]


def read_answers(path: Path) -> Iterator[AnswerRecord]:
    """What one arm answered, in the order of the questions."""
    return map(AnswerRecord.from_json, read_jsonl(path, AnswerForm))


def read_judgements(path: Path) -> Iterator[Judgement]:
    """What the judge said, in the order of the keys."""
    return map(Judgement.from_json, read_jsonl(path, JudgementForm))
