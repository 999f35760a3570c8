"""Rows about several models: how far the ranking of one agrees with that of another."""

from __future__ import annotations

from layersig.findings.rows.base import Row


class ModelPairRow(Row):
    """The ranking of one model, carried over to the layers of another by type and relative depth, beside its own."""

    scorer: str
    data: str | None
    source: str
    """The model whose ranking is carried."""
    target: str
    """The model whose layers are ranked."""
    units: int
    """Units of the target."""
    coverage: float
    """Share of them with a counterpart; only those are compared."""
    k: int
    """Size of the selections among the covered units."""
    of: int
    """Covered units."""
    seeds: int
    kappa: float
    """Mean chance-corrected overlap of the two models' rankings, of different seeds where there are several."""
    low: float | None
    high: float | None
    ceiling: float | None
    """The same between two seeds of one model, both pooled; null with one seed."""
    ceiling_low: float | None
    ceiling_high: float | None
    ratio: float | None
    """Kappa over ceiling; 1 where models differ no more than seeds do."""
    lower: float | None
    """One-sided lower bound of the ratio, at a level divided by the number of rows."""
    level: float
    margin: float
    verdict: str | None
    correlation: float | None
    """Mean rank correlation of what module type and smooth depth leave; null for fewer than 12 blocks."""
    p: float | None
    """Against surrogates that are as smooth over depth."""
    adjusted_p: float | None
    sentence: str


class ModelCeilingRow(Row):
    """How far two seeds of one model agree: the noise ceiling of everything that is carried from it or to it."""

    scorer: str
    data: str | None
    model: str
    k: int
    of: int
    seeds: int
    kappa: float
    low: float | None
    high: float | None
