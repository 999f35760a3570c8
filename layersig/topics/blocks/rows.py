"""Rows about sweeps over single blocks: what a model does on tasks without each of them."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Table
from layersig.topics.retention.rows import Format


class BlockRow(Row):
    """One quantity of a task, measured without one block and with all of them, on the same items."""

    scorer: str
    data: str | None
    seed: int | None
    task: str
    quantity: str
    """A metric, a probe of the responses, or a class of how programs end."""
    kind: Literal["metric", "probe", "code error"]
    primary: bool
    """Whether it is the metric that represents its task."""
    block: int
    whole: float
    """With all blocks, on the items that both are compared on."""
    without: float
    difference: float
    """Without the block minus with it."""
    low: float | None
    """Interval of this difference alone."""
    high: float | None
    band_low: float | None
    """Interval that holds for all blocks of this quantity together."""
    band_high: float | None
    level: float
    p: float | None
    """Of this difference alone; the t test behind `low` and `high`."""
    p_max_t: float | None
    """Corrected for the largest of all blocks of this quantity."""
    p_bh: float | None
    """Benjamini and Hochberg's, over all blocks, tasks and quantities of the sweep of this kind."""
    n: int
    """Items on which the quantity is defined in both."""
    no_interval: str | None


class BlockRetentionRow(Row):
    """What is kept of a task's score without one block: a ratio of averages on the same items."""

    scorer: str
    data: str | None
    seed: int | None
    task: str
    metric: str
    primary: bool
    format: Format
    block: int
    whole: float
    without: float
    retention: float | None
    """Null where the whole model scores 0."""
    shape: str | None
    """Shape of Fieller's set, as in `RetentionRow`."""
    low: float | None
    high: float | None
    band_shape: str | None
    """The same at the level at which the sets of all blocks of this task hold together."""
    band_low: float | None
    band_high: float | None
    floor: float | None
    at_floor: bool | None
    corrected: float | None
    """(without - floor) / (whole - floor), only where the whole model is clear of a measured floor."""
    corrected_shape: str | None
    corrected_low: float | None
    corrected_high: float | None
    level: float
    n: int
    no_interval: str | None


class BlockMeanRow(Row):
    """Mean retention without one block, over the tasks of one format: a mean of ratios over these tasks."""

    scorer: str
    data: str | None
    seed: int | None
    format: Format
    block: int
    retention: float
    low: float | None
    high: float | None
    band_low: float | None
    """Interval that holds for all blocks together."""
    band_high: float | None
    level: float
    tasks: int


BLOCKS = Table("blocks", BlockRow)
BLOCK_RETENTION = Table("block_retention", BlockRetentionRow)
BLOCK_MEANS = Table("block_means", BlockMeanRow)
