"""Rows about layers ranked on one data set and tuned on another."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Scope, Table


class CarriedRow(Row):
    """An arm that reads the ranking of a data set, tuned on a data set, beside the arm that reads the latter's own."""

    arms: str
    """Names of the arms of the matrix, which differ in nothing but the ranking that they read."""
    ranked_on: str
    data: str
    """Data set that is tuned on."""
    arm: str
    own: str
    """The arm that reads the ranking of `data` itself; the same as `arm` on the diagonal."""
    task: str
    metric: str
    primary: bool
    higher_is_better: bool
    outcome: bool
    value: float
    difference: float | None
    """Arm minus own, on the same items and seeds; null on the diagonal."""
    low: float | None
    high: float | None
    level: float
    test: str | None
    p: float | None
    adjusted_p: float | None
    """By Holm's method over every primary measure and cell of the same arms; null for a secondary metric."""
    family_size: int | None
    n: int
    seeds: int
    scope: Scope


CARRIED = Table("carried", CarriedRow)
