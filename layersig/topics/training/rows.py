"""Rows about the course of trainings."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Table


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


LOSSES = Table("losses", LossRow)
