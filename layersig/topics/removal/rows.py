"""Rows about removed layers and what is left of the model."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Scope, Table
from layersig.topics.retention.rows import Format


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


REMOVAL = Table("removal", RemovalRow)
