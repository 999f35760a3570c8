"""Rows about arms that prune: retention over the number of blocks removed, and what recovery brings back."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


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


FAILURE_COUNTS = Table("failure_counts", FailureCountRow)
FAILURES = Table("failures", FailureRow)
