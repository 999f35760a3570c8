"""Rows about what of the untouched model's abilities is left, and what breaks in what models write."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Scope

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


class ProbeRow(Row):
    """A measure of what an arm writes in a task, and how it differs from what the untouched model writes."""

    arm: str
    data: str | None
    task: str
    probe: str
    value: float
    n: int
    """Responses for which it is defined, over all seeds."""
    difference: float | None
    """Mean over items for which it is defined in all runs of both."""
    low: float | None
    high: float | None
    pairs: int
    """Items for which it is defined in both."""
    level: float
    seeds: int
    """Training runs; 0 for the untouched model. With several, the interval counts runs and items as random."""
    scope: Scope
    no_interval: str | None
    """Why the difference has no interval; null where it has one, and for the untouched model."""


class ErrorRow(Row):
    """How often programs that an arm wrote ended in one way."""

    arm: str
    data: str | None
    task: str
    taxonomy: Literal["by exception", "of the paper"]
    error: str
    count: int
    share_of_samples: float
    share_of_errors: float | None
    """Null for programs that passed."""
    difference: float
    """Share of samples minus that of the untouched model."""
