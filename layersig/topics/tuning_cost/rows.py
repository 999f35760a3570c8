"""Rows about what tuning costs an arm, and about the trials of a search."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


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
    seconds_per_token_sd: float | None = None
    """Standard deviation of it over runs; null with one."""
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


class TimeSavedRow(Row):
    """Time that tuning the layers of an arm saves next to all layers, on the same batches by the same engine.

    Means over seeds, each compared with its own all-layers training.
    """

    arm: str
    data: str | None
    runs: int
    lowest_block: int | None
    """Lowest selected block in any seed: gradients go back no further."""
    training_seconds: float
    """Of the steps of the training."""
    ranking_seconds: float
    """Of the scorers behind the selection, with the training of all layers as far as they read it."""
    all_layers_seconds: float
    saved_in_training: float
    """Share of all_layers_seconds that the training alone saves."""
    bound: float | None
    """Share of the multiplications with weights and factors that the training leaves out; null where not counted."""
    saved: float
    """Share of all_layers_seconds that training and ranking together save; negative where they take longer."""
    saved_low: float | None
    """Interval over seeds; null with one."""
    saved_high: float | None


TRIALS = Table("trials", TrialRow)
TUNING_COSTS = Table("tuning_costs", TuningCostRow)
TIME_SAVED = Table("time_saved", TimeSavedRow)
