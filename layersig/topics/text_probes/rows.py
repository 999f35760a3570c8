"""Rows about written answers: what probes show in them, and how programs end."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Scope, Table


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


PROBES = Table("probes", ProbeRow)
CODE_ERRORS = Table("code_errors", ErrorRow)
