"""Rows about trainings and costs."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Table


class CostRow(Row):
    """What a stage cost when it was computed."""

    stage: str
    kind: str
    status: str
    cached: bool
    seconds: float | None
    tokens: int | None
    peak_memory: int | None
    """Bytes."""
    halved_to: int | None
    """Tokens of the largest piece that could be divided, where memory did not suffice for larger ones."""


class ComputeRow(Row):
    """What all stages on one device cost together, cached ones included."""

    device: str
    """`cpu`, or the accelerator by its name; stages that run no model count to the CPU."""
    stages: int
    untimed: int
    """Stages that are done and have no time."""
    hours: float
    """Of work, when the stages were computed; what an interrupted start lost is not counted."""
    hours_now: float
    """Of those that were not taken from the cache."""
    threads: int | None
    """Threads of a CPU that models ran on."""
    cpu_energy: float | None
    """Joules of the whole processor, other work included; null where the machine does not count them."""
    gpu_energy: float | None
    """Joules of the whole GPU, summed from its power; null where the machine does not tell it."""
    measured: int
    """Stages whose energy was counted."""


class InferenceRow(Row):
    """How fast an arm was evaluated, over its data sets and seeds, on one machine beside whatever else it did."""

    arm: str
    runs: int
    tokens: int
    """Real tokens that went through the model."""
    seconds: float
    tokens_per_second: float
    ratio: float | None
    """Over that of the untouched model; null where that was not timed."""


class CostSumRow(Row):
    """The cost of all stages of a kind."""

    kind: str
    stages: int
    cached: int
    """Stages taken from the cache."""
    seconds: float
    """When they were computed, cached ones included."""
    seconds_now: float
    """Of those that were not taken from the cache."""
    tokens: int
    peak_memory: int | None
    """Largest of any stage, bytes."""


class PlannedCostRow(Row):
    """What `layersig plan` expected of the stages of a kind before they were computed, beside what they took."""

    kind: str
    """`all` for the stages of every kind."""
    quantity: Literal["time", "peak memory", "disk", "verdicts"]
    """Seconds, bytes of the largest stage, bytes in the store, verdicts of the judge."""
    stages: int
    """Stages of which both figures are known."""
    others: int
    """Stages that are done, of which one is not: they were in the cache when the run was planned, among others."""
    planned: float
    at_most: bool
    """Whether the planned figure is an upper bound: texts may end earlier."""
    measured: float
    ratio: float | None
    """Measured over planned; null where nothing was planned."""


COSTS = Table("costs", CostRow)
COST_SUMS = Table("cost_sums", CostSumRow)
COMPUTE = Table("compute", ComputeRow)
INFERENCE = Table("inference", InferenceRow)
PLANNED_COSTS = Table("planned_costs", PlannedCostRow)
