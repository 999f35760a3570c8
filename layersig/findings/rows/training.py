"""Rows about trainings and costs."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row


class LossRow(Row):
    """A point of a training curve: the mean loss of a stretch of steps."""

    cell: str
    """Which training."""
    training: Literal["arm", "scorer"]
    """Whether an arm was tuned or a scorer trained; the reference training is the arm `all-layers`."""
    name: str
    """Of the arm or scorer."""
    data: str | None
    seed: int | None
    step: int
    """Last step of the stretch."""
    loss: float
    steps: int
    """Steps averaged."""


class CostRow(Row):
    """What a stage cost when it was computed."""

    stage: str
    kind: str
    status: str
    cached: bool
    seconds: float | None
    tokens: int | None
    peak_memory: int | None
    """Bytes."""


class CostSumRow(Row):
    """The cost of all stages of a kind."""

    kind: str
    stages: int
    cached: int
    """Stages taken from the cache."""
    seconds: float
    """When they were computed, cached ones included."""
    seconds_now: float
    """Of those that were not taken from the cache."""
    tokens: int
    peak_memory: int | None
    """Largest of any stage, bytes."""
