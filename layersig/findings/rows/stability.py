"""Rows about what a ranking is worth: noise, sharing, identity, variance, estimators, tests of overlap."""

from __future__ import annotations

from layersig.findings.rows.base import Row


class StabilityRow(Row):
    """Agreement of the runs of one scorer at one k, with a jackknife interval."""

    scorer: str
    checkpoint: float | None
    data: str | None
    """The data set; null where the quantity spans all of them."""
    k: int
    of: int
    quantity: str
    """`within` (other seeds of one data set: the noise ceiling), `between` (other data sets), `ratio` or
    `identity gain`."""
    value: float
    se: float | None
    df: float
    low: float | None
    high: float | None
    level: float
    runs: int
    data_sets: int
    left_out: str
    """What the jackknife leaves out: a run, or a seed of all data sets where seeds are shared."""


class SharingRow(Row):
    """Whether data sets share layers: an equivalence claim about agreement between against agreement within."""

    scorer: str
    checkpoint: float | None
    k: int
    of: int
    ratio: float
    lower: float
    """One-sided lower bound."""
    level: float
    margin: float
    seeds: int
    data_sets: int
    verdict: str
    sentence: str
    p_different: float | None
    """P-value of the opposite question, whether data sets differ: whole runs relabelled within seeds."""
    relabellings: int | None
    """Monte Carlo draws behind it; null when every relabelling was enumerated."""


class ComponentRow(Row):
    """A component of the variance of module scores, every run scaled to variance 1."""

    scorer: str
    checkpoint: float | None
    component: str
    variance: float
    share: float
    df: int
    low: float | None
    high: float | None


class EstimatorRow(Row):
    """Rank correlation of two scorers on one data set, raw and corrected for the noise of each."""

    a: str
    b: str
    data: str | None
    runs: int
    correlation: float | None
    """Mean Spearman correlation of a run of a with a run of b of another seed, or of the one seed that there is; null
    where one of them scores all layers alike."""
    reliability_a: float | None
    reliability_b: float | None
    corrected: float | None
    """Null when a reliability is below 0.3 or unknown, or there are fewer than three seeds; not clipped at 1."""
    shape: str | None
    """Shape of Fieller's set."""
    low: float | None
    high: float | None


class CheckpointRow(Row):
    """Agreement of a scorer's ranking at a fraction of the reference training with its ranking at the last one."""

    kind: str
    data: str | None
    checkpoint: float
    last: float
    k: int
    of: int
    kappa: float
    """Mean over seeds."""
    kappa_low: float
    """Smallest in any seed: a range, not an interval."""
    kappa_high: float
    runs: int


class MatrixRow(Row):
    """Mean Jaccard index of the top k of two rankings over their pairs of runs."""

    a: str
    b: str
    k: int
    of: int
    jaccard: float
    pairs: int
    chance: float
    low: float | None
    """Bootstrap interval, runs of both rankings drawn with replacement; null for a ranking with itself, whose runs
    would meet themselves, and where a ranking has one run."""
    high: float | None
    level: float


class OverlapTestRow(Row):
    """A test of the overlap of two rankings, averaged over their seeds, and what it assumes."""

    a: str
    b: str
    k: int
    of: int
    jaccard: float
    test: str
    p: float
    draws: int | None
    """Monte Carlo draws; null for an exact law."""
    assumes: str
    holds: bool
    """Whether the assumption is tenable for layers of one model."""
