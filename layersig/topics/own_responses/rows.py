"""Rows about training on self-generated responses against training on those that the data set gives."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Scope, Table


class OwnResponsesRow(Row):
    """An arm trained on self-generated responses minus the same arm trained on the given ones."""

    arm: str
    own: str
    """Data set with self-generated responses."""
    given: str
    """The same rows with the responses that came with them."""
    task: str
    metric: str
    primary: bool
    higher_is_better: bool
    outcome: bool
    on_own: float
    on_given: float
    difference: float
    low: float | None
    high: float | None
    level: float
    test: str
    p: float | None
    adjusted_p: float | None
    """By Holm's method over every primary measure and arm; null for a secondary metric."""
    family_size: int | None
    same_layers: bool | None
    """Whether both trainings removed or tuned the same layers in every seed; null for an arm without a selection."""
    n: int
    seeds: int
    scope: Scope


OWN_RESPONSES = Table("own_responses", OwnResponsesRow)
