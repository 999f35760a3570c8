"""Rows about trainings and costs."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row


class LossRow(Row):
    """A point of a training curve: the mean loss of a stretch of steps."""

    cell: str
    """Which training."""
    training: Literal["arm", "scorer"]
    """Whether an arm was tuned or a scorer trained; the reference training is the arm `all-layers`."""
    name: str
    """Of the arm or scorer."""
    data: str | None
    seed: int | None
    step: int
    """Last step of the stretch."""
    loss: float
    steps: int
    """Steps averaged."""


class TrialRow(Row):
    """A trial of the search of an arm."""

    arm: str
    data: str | None
    seed: int | None
    learning_rate: float
    epochs: float | None
    """Null where the length is given in steps."""
    steps: int | None
    """Null where the trial failed."""
    loss: float | None
    """On the validation split, in nats per token."""
    chosen: bool
    """Whether this trial is the arm."""
    error: str | None
    """Why it failed."""


class TuningCostRow(Row):
    """What it takes to tune the layers of an arm, over its seeds; times and peaks are means."""

    arm: str
    data: str | None
    method: str
    runs: int
    share_of_layers: float
    seconds_per_token: float | None
    """Of training, in one process."""
    weights_memory: int
    """Bytes of the weights that are not trained."""
    trained_memory: int
    """Bytes of what is trained: factors, or float32 weights."""
    gradient_memory: int
    optimizer_memory: int
    peak_memory: int | None
    """Measured: the process on a CPU, torch's allocations on a GPU; activations included."""
    time_ratio: float | None
    """seconds_per_token over that of `all-layers`."""
    state_ratio: float | None
    """What is trained, its gradients and optimizer state, over those of `all-layers`."""
    peak_ratio: float | None
    """peak_memory over that of `all-layers`."""


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
