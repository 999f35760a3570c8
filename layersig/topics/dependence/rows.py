"""Rows about what the agreement of rankings depends on: properties of data sets, sizes of models."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class DependenceRow(Row):
    """How the agreement of rankings goes with a property of the data."""

    scorer: str
    checkpoint: float | None
    quantity: str
    """`within`: kappa between two seeds of a data set, a value for each data set. `between`: kappa of two data sets, of
    different seeds, a value for each pair."""
    property: str
    """What is measured of a data set; for `between`, how much two of them differ in it."""
    k: int
    of: int
    data_sets: int
    seeds: int
    statistic: str
    """`tau` (Kendall's tau-b over data sets) or `r` (Pearson's correlation over pairs of data sets)."""
    value: float
    slope: float | None
    """Theil and Sen's: change of kappa for a unit of the property; null for pairs."""
    low: float | None
    """Interval of the slope; of the correlation for pairs. Null with fewer than five data sets."""
    high: float | None
    level: float
    p: float
    """Two-sided, over all orders of the data sets (more than seven: over 9,999 of them)."""
    least_p: float
    """The smallest p-value that any result could have had."""
    declared: bool
    """Whether `analyze.sharing` names the scorer and all of these rankings were scored after it was on record."""
    adjusted_p: float
    """Holm's, over all declared rows or over all others."""
    tests: int
    verdict: str
    sentence: str


class DataPropertyRow(Row):
    """A measured property of the training side of a data set."""

    data: str
    property: str
    value: float


DATA_PROPERTIES = Table("data_properties", DataPropertyRow)
DEPENDENCE = Table("dependence", DependenceRow)
