"""Rows about claims: "as good as all layers" in its fixed order, ranks of arms, and the rigor card."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Scope

RigorStatus = Literal["met", "not met", "does not apply"]


class ClaimRow(Row):
    """The fixed sequence behind "as good as all layers"; a step after the first failure is not tested."""

    arm: str
    data: str | None
    task: str
    metric: str
    margin: float
    assay_p: float
    """(i) All layers beat the untouched model by more than the margin."""
    not_worse_p: float | None
    """(ii) The arm is not worse than all layers by more than the margin."""
    beats_random_p: float | None
    """(iii) The arm beats its random control, or its random control sets where there are enough for a rank test."""
    control_sets: int
    """Random sets behind (iii)."""
    conclusion: str
    scope: Scope
    seeds: int
    n: int


class ControlSetRow(Row):
    """Where an arm stands among its random control sets, all averaged over the same seeds."""

    arm: str
    data: str | None
    task: str
    metric: str
    primary: bool
    higher_is_better: bool
    match: str
    """What the sets have in common with the arm: counts by module type, number of layers, or weights."""
    value: float
    """The arm's."""
    sets: int
    low: float
    """Smallest value of a set: a range, not an interval."""
    median: float
    high: float
    at_least_as_good: int
    """Sets that are as good as the arm or better."""
    p: float | None
    """(1 + at_least_as_good) / (1 + sets), one-sided; null with fewer than 19 sets, which allow no test."""
    seeds: int
    sentence: str


class ArmRankRow(Row):
    """The ranks that an arm may hold among all arms, all sets together with the level's probability."""

    arm: str
    data: str | None
    task: str
    metric: str
    value: float
    best: int
    worst: int
    seeds: int
    level: float


class RigorRow(Row):
    """An item of the checklist that reviewers apply, filled in from the records of the run."""

    item: str
    status: RigorStatus
    evidence: str
