"""Rows about claims: "as good as all layers" in its fixed order, ranks of arms, and the rigor card."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Scope, Table


class ClaimRow(Row):
    """The fixed sequence behind "as good as all layers"; a step after the first failure is not tested."""

    arm: str
    data: str | None
    task: str
    metric: str
    margin: float
    """All layers have to gain more than this."""
    required: float | None
    """Share of the gain that the arm has to keep; null where it may lose up to half of `margin` instead."""
    assay_p: float
    """(i) All layers beat the untouched model by more than the margin."""
    keeps_p: float | None
    """(ii) The arm keeps what is required."""
    beats_random_p: float | None
    """(iii) The arm beats its random control sets by its rank among them, or its single random control where there are
    seeds enough; null where nothing can tell."""
    control_sets: int
    """Random sets behind (iii)."""
    declared: bool
    """True where the comparison with all layers is declared; else exploratory."""
    family: str
    """The claims that p-values are adjusted over."""
    family_size: int
    as_good_p: float
    """P of (i) and (ii) together, by Holm's method within the family."""
    selective_p: float | None
    """P of all three steps together, by Holm's method within the family; null where nothing can tell."""
    conclusion: str
    sentence: str
    scope: Scope
    seeds: int
    n: int


class EveryTaskRow(Row):
    """Whether an arm is as good as all layers on every benchmark: each of the claims holds, so none is corrected."""

    arm: str
    data: str | None
    tasks: tuple[str, ...]
    p: float
    """Intersection-union test: the largest p of the tasks' claims, each before correction."""
    adjusted_p: float
    """By Holm's method over the arms."""
    established: bool
    sentence: str


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
    """(1 + at_least_as_good) / (1 + sets), one-sided; null with fewer than 19 sets, or sets that
    change with the seed, which allow no test."""
    adjusted_p: float | None
    """By Holm's method over all arms and primary measures that have a p; the family is exploratory."""
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


CONTROL_SETS = Table("control_sets", ControlSetRow)
CLAIMS = Table("claims", ClaimRow)
EVERY_TASK = Table("every_task", EveryTaskRow)
ARM_RANKS = Table("arm_ranks", ArmRankRow)
