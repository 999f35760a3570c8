"""Rows about arms that prune: retention over the number of blocks removed, and what recovery brings back."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Scope
from layersig.findings.rows.retention import Format


class RemovalRow(Row):
    """A point of a curve: what arms that differ in the number of blocks removed keep of a task's score."""

    series: str
    """What the arms of the curve have in common."""
    arm: str
    data: str | None
    task: str | None
    """Null for the mean over the tasks of the format."""
    metric: str | None
    primary: bool
    format: Format
    removed: int
    """Blocks."""
    of: int
    retention: float
    shape: str | None
    """Shape of the set, as in `RetentionRow`."""
    low: float | None
    """Of this point alone."""
    high: float | None
    band_shape: str | None
    """The same at the level at which, by Bonferroni's rule, the sets of all points of the curve hold together."""
    band_low: float | None
    band_high: float | None
    level: float
    points: int
    """Points of the curve that have a set."""
    floor: float | None
    """Share of the untouched model's score that its measured floor is."""
    n: int | None
    """Items; null for a mean over tasks."""
    seeds: int
    scope: Scope


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


class FailureCountRow(Row):
    """How often an arm and the untouched model solve the items of a task that is answered in writing."""

    arm: str
    data: str | None
    task: str
    metric: str
    both: int
    lost: int
    """Solved by the untouched model alone, over all training runs."""
    gained: int
    neither: int
    seeds: int


class FailureRow(Row):
    """An item that the untouched model solves and an arm does not, drawn at random among all such items."""

    arm: str
    data: str | None
    seed: int | None
    task: str
    metric: str
    item: str
    question: str
    """Texts longer than what a page can show have their middle left out; `responses.jsonl` has them in full."""
    target: str
    untouched: str
    """What the untouched model answers."""
    response: str
    """What the arm answers."""
    finish: str | None
    error: str | None
    """How its program ends, where it is one."""
    of: int
    """Such items, over all training runs."""
