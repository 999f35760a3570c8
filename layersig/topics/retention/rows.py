"""Rows about what of the untouched model's abilities is left, and what breaks in what models write."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Scope, Table

Format = Literal["classification", "generation"]


class RetentionRow(Row):
    """What an arm keeps of the untouched model's score on a task: arm / base, a ratio of averages."""

    arm: str
    data: str | None
    task: str
    metric: str
    primary: bool
    format: Format
    base: float
    value: float
    retention: float | None
    """Null where the base scores 0."""
    shape: str | None
    """Shape of Fieller's set: an interval, two rays (everything outside of low..high), or everything."""
    low: float | None
    high: float | None
    floor: float | None
    """Measured without the items' own questions; null where the task does not ask for it."""
    constant: float | None
    """What the best constant answer scores."""
    room: float | None
    """Base minus floor, with its standard error over items."""
    room_se: float | None
    at_floor: bool | None
    """Whether the base is within three standard errors or five points of the floor: a ratio above it says nothing."""
    corrected: float | None
    """(arm - floor) / (base - floor), only where the base is clear of the floor."""
    corrected_shape: str | None
    corrected_low: float | None
    corrected_high: float | None
    level: float
    no_interval: str | None
    """Why the retention has no set; null where it has one."""
    n: int
    seeds: int
    scope: Scope


class RetentionClassRow(Row):
    """Mean retention of an arm over the tasks of one format: a mean of ratios over fixed tasks."""

    arm: str
    data: str | None
    format: Format
    retention: float
    low: float | None
    """Over the items of these tasks, and over the training runs, which the tasks share, where there are several."""
    high: float | None
    corrected: float | None
    """Mean over the tasks whose base is clear of a measured floor."""
    constant: float | None = None
    """What the best constant answers would keep: mean of constant / base; null unless known of every task."""
    tasks: int
    corrected_tasks: int
    level: float
    seeds: int
    """Training runs: the fewest of any task; with one, the interval concerns its checkpoint only."""
    scope: Scope


class RetentionGapRow(Row):
    """Retention as classification minus retention as generation."""

    arm: str
    data: str | None
    kind: Literal["tasks", "same items"]
    """`same items` separates the way to answer from the items; `tasks` describes these fixed tasks and no others."""
    classification: str
    generation: str
    classification_retention: float
    generation_retention: float
    classification_floor: float | None
    """Floor over base: what a model that knows nothing retains."""
    generation_floor: float | None
    gap: float
    se: float | None
    low: float | None
    high: float | None
    level: float
    n: int | None
    """Items, where they are the same."""
    seeds: int
    scope: Scope


RETENTION = Table("retention", RetentionRow)
RETENTION_CLASSES = Table("retention_classes", RetentionClassRow)
RETENTION_GAPS = Table("retention_gaps", RetentionGapRow)
