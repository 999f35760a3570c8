"""Rows about the agreement of rankings."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class OverlapRow(Row):
    """Overlap of the top k of two rankings beside what chance alone gives."""

    a: str
    b: str
    group: str
    """What is compared with what, seeds and data sets not named."""
    differ: str
    """What tells the two rankings apart: scorer, data (or half, of one data set), seed, checkpoint, joined by
    `+`."""
    k: int
    of: int
    shared: float
    """Units in both sets; where scores are tied across the boundary, expected over random tie-breaking."""
    jaccard: float
    """Also an expectation where scores are tied."""
    kappa: float | None
    """Kuncheva's chance-corrected overlap, negative below chance; null when k is everything."""
    chance_jaccard: float
    """Expected Jaccard index of two sets of k drawn uniformly."""
    chance_low: float
    """Lower end of its central 95 % range."""
    chance_high: float
    type_jaccard: float
    """Expected Jaccard index of two random sets with the same number of units of each module type."""
    type_low: float
    type_high: float
    p_uniform: float
    """Exact two-sided p-value under the uniform law; descriptive only."""
    p_type: float
    """The same under the type-stratified law; descriptive only."""


class CurveRow(Row):
    """Agreement of a group of ranking pairs at one k."""

    group: str
    """What is compared with what."""
    pairs: int
    k: int
    of: int
    kappa: float
    """Mean over the pairs."""
    kappa_low: float
    """Smallest over the pairs."""
    kappa_high: float
    """Largest over the pairs."""
    chance_low: float
    """Lower end of the central 95 % range of one pair under the uniform law; its mean is 0."""
    chance_high: float
    type_kappa: float
    """Mean over the pairs of the kappa expected from the numbers of each module type alone."""


OVERLAPS = Table("overlaps", OverlapRow)
AGREEMENT = Table("agreement", CurveRow)
