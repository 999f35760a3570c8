"""Rows about what the arms score."""

from __future__ import annotations

from layersig.analysis.tables import NoInterval
from layersig.findings.rows.base import Role, Row, Scope, Table

_ROUNDED = 5
"""Decimals to which a difference of identical results is 0: single precision leaves no more."""


class ResultRow(Row):
    """What an arm scores on a task."""

    arm: str
    data: str | None
    task: str
    metric: str
    primary: bool
    """True for the one metric of the task that figures and sentences use."""
    higher_is_better: bool
    value: float
    se: float | None
    """Standard error over items (one run) or over seeds and items (several)."""
    low: float | None
    high: float | None
    level: float
    no_interval: str | None
    """Why there is no interval; null where there is one."""
    n: int
    """Items."""
    clusters: int | None
    """Independent groups of items, where items are not independent; the standard error is over these."""
    strata: int | None
    """Fixed parts of the task, such as the subjects of MMLU, whose differences are no error."""
    seeds: int
    """Training runs; 0 for the untouched model."""
    scope: Scope


class SeedResultRow(Row):
    """What one training run scores on a task."""

    arm: str
    data: str | None
    seed: int | None
    task: str
    metric: str
    value: float


class ComparisonRow(Row):
    """A paired comparison of two arms on the same items and seeds."""

    arm: str
    reference: str
    role: Role
    outcome: bool
    """True for every metric of an outcome: the held-out loss of the arm's own data, or a task that the recipe names."""
    data: str | None
    task: str
    metric: str
    primary: bool
    higher_is_better: bool
    estimate: float
    """Mean of arm minus reference."""
    se: float | None
    df: float | None
    low: float | None
    high: float | None
    level: float
    margin: float | None
    """Smallest difference that matters; null where none is declared, and then there is no verdict."""
    test: str
    p: float | None
    no_interval: str | None
    """Why there is neither interval nor test nor verdict; null where there are."""
    family: str | None
    """The tests that p is adjusted over; null for secondary metrics."""
    family_size: int | None
    """Tests in the family: comparisons, and among what is declared claims too."""
    adjusted_p: float | None
    """p by Holm's method within the family."""
    half_width: float | None
    """Half of the interval."""
    detectable: float | None
    """Difference that a new study of this size would find with 80 % power, planned with the upper 80 % limit of the
    error seen in this one; 1 for shares where no difference would be found."""
    bootstrap_low: float | None
    """Crossed bootstrap over seeds and items, from five seeds on: a second opinion beside the interval."""
    bootstrap_high: float | None
    n: int
    clusters: int | None
    strata: int | None
    seeds: int
    scope: Scope
    declared: bool
    """True where the recipe declared arm, reference and outcome before both were measured; else exploratory."""
    verdict: str | None
    """Null outside of the families, and without a margin."""
    stated_low: float | None
    """Lower end of the interval that the verdict follows from and the sentence states, corrected for the family."""
    stated_high: float | None
    stated_level: float | None
    sentence: str | None
    """Begins with `Declared:` or `Exploratory:`; the verdict in full, with scope, data set, model, metric, S and n, or
    the estimate alone where there is no verdict."""

    @property
    def identical(self) -> bool:
        """Whether both arms have the same result on every item, as arms that tune the same layers have."""
        return self.no_interval == NoInterval.NO_VARIATION and round(self.estimate, _ROUNDED) == 0


class AssayRow(Row):
    """Whether all layers move the untouched model on a task, without which no arm is called the same as another."""

    data: str | None
    task: str
    metric: str
    primary: bool
    higher_is_better: bool
    margin: float
    gain: float
    """Of all layers over the untouched model, positive meaning better."""
    low: float
    """Lower end of its interval, whose ends are one-sided bounds at alpha."""
    high: float
    level: float
    moved: str
    """Where the interval lies: above the margin, below a loss of it, or reaching within it."""
    n: int
    seeds: int
    scope: Scope
    sentence: str


class SeedDifferenceRow(Row):
    """The difference of two arms in one seed."""

    arm: str
    reference: str
    data: str | None
    seed: int | None
    task: str
    metric: str
    difference: float


class ShareRow(Row):
    """Share of the gain of all layers that an arm keeps, (arm - base) / (all - base)."""

    arm: str
    data: str | None
    task: str
    metric: str
    primary: bool
    share: float
    shape: str | None
    """Shape of Fieller's set: an interval, two rays (everything outside of low..high), or everything."""
    low: float | None
    high: float | None
    bootstrap_low: float | None
    """Percentile bootstrap over items in pairs, with one training run only; bounded even where the truth is not."""
    bootstrap_high: float | None
    level: float
    no_interval: str | None
    """Why there is no set; null where there is one."""
    n: int
    seeds: int
    scope: Scope


RESULTS = Table("results", ResultRow)
SEED_RESULTS = Table("seed_results", SeedResultRow)
COMPARISONS = Table("comparisons", ComparisonRow)
ASSAYS = Table("assays", AssayRow)
SEED_DIFFERENCES = Table("seed_differences", SeedDifferenceRow)
SHARES = Table("shares", ShareRow)
