"""Rows about what a ranking is worth: noise, sharing, identity, variance, estimators, tests of overlap."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class StabilityRow(Row):
    """Agreement of the runs of one scorer at one k, with a jackknife interval."""

    scorer: str
    checkpoint: float | None
    data: str | None
    """The data set; null where the quantity spans all of them."""
    k: int
    of: int
    quantity: str
    """`rescored` (one training, other random draws of the scorer), `within` (other seeds of one data set: the noise
    ceiling), `other half` (other seeds and other rows of one data set), `between` (other data sets), `ratio`,
    `identity gain` (own scores as a predictor of another run, less their smooth fit) or `residual agreement`
    (correlation between runs of what a type x cubic-depth fit leaves over; the same at every k)."""
    value: float
    se: float | None
    df: float
    low: float | None
    high: float | None
    lower: float | None
    """One-sided lower bound at the same level."""
    level: float
    runs: int
    data_sets: int
    left_out: str
    """What the jackknife leaves out: a run, or a seed of all data sets where seeds are shared."""


class SharingRow(Row):
    """Whether rankings share layers: an equivalence claim about agreement between them against agreement within."""

    scorer: str
    """Name of the scorer; of scorers that are compared, all their names."""
    checkpoint: float | None
    across: str
    """What the rankings differ in: data sets, halves of one, scorers."""
    cells: tuple[str, ...]
    """Names of the data sets, halves or scorers."""
    data: str | None
    """The data set of halves and scorers; null across data sets."""
    ceiling: str
    """What agreement is held against: the seeds of one data set, or its halves, which hold the noise of rows too."""
    family: str
    """The tests that are corrected together, declared ones apart from the others: all cells at once, or two by two,
    over rankings and sizes."""
    declared: bool
    """Whether `analyze.sharing` names the scorers and all of these rankings were scored after it was on record."""
    k: int
    of: int
    ratio: float | None
    """Null where the seeds of a data set agree no better than chance."""
    lower: float | None
    """One-sided lower bound; null without a noise ceiling, or with fewer than three seeds."""
    level: float
    """Of the bound, which is not corrected."""
    margin: float
    p: float | None
    """One-sided, of "the ratio is no more than the margin, or there is no ceiling"; null with fewer than five seeds."""
    adjusted_p: float | None
    """By Holm's method over the family; the verdict follows from it."""
    tests: int
    """Tests in the family."""
    seeds: int
    data_sets: int
    verdict: str
    sentence: str
    corrected: float | None
    """Correlation of rankings of different cells, corrected for the noise of each: 1 where they differ in noise alone.
    The same at every k; null where the seeds of a cell correlate by less than 0.3."""
    corrected_low: float | None
    corrected_high: float | None
    p_different: float | None
    """One-sided p-value of that correlation being below 1: these cells, as sampled, rank layers differently."""
    p_exchangeable: float | None
    """P-value of whole runs relabelled within seeds: are runs exchangeable between cells? Null against halves."""
    least_p: float | None
    """The smallest value that `p_exchangeable` can take in this design, whatever the data."""
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
    level: float


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
    """Null when a reliability is below 0.3 or unknown, or fewer than three seeds are common; not clipped at 1."""
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
    """Mean Jaccard index of the top k of two rankings over their pairs of runs of different seeds."""

    a: str
    b: str
    k: int
    of: int
    jaccard: float
    """In expectation over random tie-breaking."""
    pairs: int
    one_seed: bool
    """True where there are only runs of one seed to pair, which may share a training."""
    chance: float
    low: float | None
    """Interval by a jackknife that leaves out one seed at a time; null with fewer than three seeds."""
    high: float | None
    bootstrap_low: float | None
    """Percentile interval of a bootstrap over seeds, for comparison: too short with few seeds."""
    bootstrap_high: float | None
    level: float


class OverlapTestRow(Row):
    """A permutation test of the overlap of two rankings, averaged over their seeds: descriptive."""

    a: str
    b: str
    k: int
    of: int
    jaccard: float
    chance: float
    test: str
    p: float
    """Two-sided: an overlap may be below chance."""
    adjusted_p: float
    """By Holm's method over all pairs and sizes that this test is made of."""
    tests: int
    """Tests in that family."""
    assumes: str
    verdict: str
    ceiling: float | None
    """Mean Jaccard index of different seeds of one ranking, over both rankings; null where one has fewer than two."""
    ratio: float | None
    """Kappa of different seeds of the two rankings, over the mean kappa of different seeds of one: 1 where they agree
    as far as seeds do. Null without a ceiling above chance."""
    sentence: str


class ResidualTestRow(Row):
    """Agreement of two rankings beyond module type, a cubic in depth and the end blocks."""

    a: str
    b: str
    modules: int
    """Modules of the interior blocks."""
    runs_a: int
    runs_b: int
    pairs: int
    one_seed: bool
    """True where there are only runs of one seed to pair, which may share a training."""
    correlation: float
    """Mean over pairs of runs of different seeds of the correlation of residuals."""
    low: float | None
    """Interval by a jackknife that leaves out one seed at a time; null with fewer than three seeds."""
    high: float | None
    level: float
    p: float
    """Two-sided, against depth-preserving surrogates."""
    adjusted_p: float
    """By Holm's method over all pairs of rankings of the run."""
    draws: int


STABILITY = Table("stability", StabilityRow)
SHARING = Table("sharing", SharingRow)
COMPONENTS = Table("components", ComponentRow)
CHECKPOINTS = Table("checkpoints", CheckpointRow)
ESTIMATORS = Table("estimators", EstimatorRow)
JACCARD_MATRIX = Table("jaccard_matrix", MatrixRow)
OVERLAP_TESTS = Table("overlap_tests", OverlapTestRow)
RESIDUAL_TESTS = Table("residual_tests", ResidualTestRow)
