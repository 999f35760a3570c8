"""Rows about what a judge model says: of single answers, of pairs of them, and of itself."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Scope, Table


class JudgeRow(Row):
    """Who judged, and how much of it can be used."""

    what: Literal["grades", "comparisons"]
    model: str
    """As the recipe names it."""
    answered_by: tuple[str, ...]
    """As the endpoint names it: more than one means that the judge changed in between."""
    first: str | None
    """When the first verdict was made, as the endpoint says, in UTC."""
    last: str | None
    endpoint: str
    temperature: float | Literal["default"]
    """`default`: none was asked for, and the judge used its own."""
    repeats: int
    attempts: int
    verdicts: int
    asked_again: int
    """Verdicts that could not be read at first."""
    cut: int = 0
    """Replies that did not end by themselves, for instance at the largest number of tokens, and were not read."""
    invalid: int
    """Verdicts that could not be had at all."""
    refused: int
    """Those of them whose prompt the endpoint refused."""


class JudgedRow(Row):
    """The mean grade of an arm on a group of the questions of a set."""

    arm: str
    data: str | None
    set: str
    by: Literal["all", "category", "turn"]
    group: str
    value: float
    """Mean over turns of the mean over repeats, from 1 to 10."""
    se: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    """Turns; the repeats of a verdict count as one."""
    questions: int
    """Independent questions; the standard error is over these."""
    seeds: int
    scope: Scope
    cut: float
    """Share of the answers that did not end by themselves."""


class JudgeNoiseRow(Row):
    """What of the error of an arm's mean grade is the judge's own doing: how its repeats differ."""

    arm: str
    data: str | None
    set: str
    repeats: int
    agree: float
    """Share of turns whose repeats all give the same grade."""
    repeat_sd: float
    """Standard deviation between repeats of one verdict, pooled over turns and seeds."""
    se_repeats: float
    """What that adds to the standard error of the mean: repeat_sd / sqrt(repeats x turns x seeds)."""
    se: float | None
    """The whole standard error, over questions (and seeds); the repeats are part of it."""


class PairRow(Row):
    """An arm against the baseline in the judge's direct comparison of their answers, both orders taken together."""

    arm: str
    reference: str
    data: str | None
    set: str
    by: Literal["all", "category", "turn"]
    group: str
    win: float
    """Share of pairs that the arm wins in both orders."""
    tie: float
    """Share of pairs that neither side wins in both orders."""
    loss: float
    value: float
    """Mean over both orders of 1 for a win, 0.5 for a tie, 0 for a loss of the arm."""
    se: float | None
    low: float | None
    high: float | None
    level: float
    p: float | None
    """Of the hypothesis that it is 0.5: signs flipped by question with one training run, else t."""
    n: int
    """Pairs of turns; repeats count as one."""
    questions: int
    seeds: int
    scope: Scope
    unrated: int
    """Pairs left out because an order lacks a verdict in some seed."""


class PositionRow(Row):
    """Whether the judge goes by the order in which answers are shown."""

    arm: str | None
    """Null: all arms together."""
    reference: str
    set: str
    pairs: int
    """Pairs of verdicts, one in each order."""
    flips: float
    """Share of pairs whose winner changes with the order."""
    decided: int
    """Verdicts other than a tie."""
    first: float | None
    """Share of those won by the answer shown first; 0.5 without a bias of position."""
    low: float | None
    high: float | None
    level: float


JUDGES = Table("judges", JudgeRow)
JUDGED = Table("judged", JudgedRow)
JUDGE_NOISE = Table("judge_noise", JudgeNoiseRow)
JUDGE_PAIRS = Table("judge_pairs", PairRow)
JUDGE_POSITIONS = Table("judge_positions", PositionRow)
