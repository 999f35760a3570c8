"""Rows about sweeps: outcomes over a quantity in which arms or data sets differ."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Role, Row, Scope, Table

Series = Literal["arm", "random control", "rule control"]


class SweepPointRow(Row):
    """A point of a curve: an arm, or one of its controls, at a value of the quantity that varies."""

    sweep: str
    quantity: str
    x: float
    curve: str | None
    """The arm whose curve it belongs to, where data sets vary; null where arms do."""
    series: Series
    """The arm itself, the mean of its random controls, or its rule control."""
    arm: str
    """The arm at this point; of several random controls, the first."""
    sets: int
    """Arms that the value is the mean of: above 1 for several random controls."""
    data: str
    task: str
    metric: str
    primary: bool
    higher_is_better: bool
    value: float
    difference: float | None
    """From the untouched model, on the same items; null where that was not measured."""
    low: float | None
    """Ends of the band of the differences, which holds for all points of the curve together."""
    high: float | None
    level: float
    in_best_set: bool | None
    """Whether the point is not shown to be worse than the best; null for controls."""
    n: int
    seeds: int
    scope: Scope


class SweepRow(Row):
    """A curve as a whole: its trend, and where its optimum may be."""

    sweep: str
    quantity: str
    of: Literal["arms", "data"]
    against: Role | None
    """Null: the outcome itself. A control: how much better than it the arms are."""
    arm: str | None
    """The arm, where data sets vary; null where arms do."""
    data: str | None
    """The data set, where arms vary; null where data sets do."""
    task: str
    metric: str
    primary: bool
    higher_is_better: bool
    outcome: bool
    points: int
    x_low: float
    x_high: float
    best: float | None
    """Where the best mean is; null for the difference from a control, as the other keys of the optimum."""
    best_low: float | None
    """The least and the greatest value in the set that holds the best point with the level's probability."""
    best_high: float | None
    best_points: int | None
    slope: float | None
    """Average change from one point to the next, in the metric's own direction; null where nothing varies."""
    low: float | None
    high: float | None
    level: float
    p: float | None
    family: str | None
    adjusted_p: float | None
    declared: bool
    n: int
    seeds: int
    scope: Scope
    sentence: str


SWEEPS = Table("sweeps", SweepRow)
SWEEP_POINTS = Table("sweep_points", SweepPointRow)
