"""Rows about what tuning brings back after removal."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Scope, Table


class RecoveryRow(Row):
    """A quantity of a task before and after the training that follows pruning, on the same items."""

    pruned: str
    recovered: str
    data: str | None
    task: str
    quantity: str
    """A metric, a probe of the responses, or a class of how programs end."""
    kind: Literal["metric", "probe", "code error"]
    untouched: float | None
    before: float
    after: float
    difference: float
    """After minus before."""
    low: float | None
    high: float | None
    level: float
    no_interval: str | None
    n: int
    """Items on which it is defined before and after."""
    seeds: int
    scope: Scope


RECOVERY = Table("recovery", RecoveryRow)
