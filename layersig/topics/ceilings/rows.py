"""Rows about the agreement of the seeds of one ranking."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class CeilingRow(Row):
    """Whether the seeds of one ranking agree above chance at one k, beside their agreement on single layers."""

    scorer: str
    checkpoint: float | None
    data: str | None
    seeds: int
    """Seeds of the ranking; 0 where it depends on none."""
    k: int
    of: int
    kappa: float | None
    """Mean chance-corrected overlap over pairs of seeds: 0 at chance, 1 for identity; null with fewer than two."""
    low: float | None
    """Jackknife interval, leaving out one seed at a time, not corrected; null with fewer than three seeds."""
    high: float | None
    level: float
    p: float | None
    """One-sided, of "the seeds agree no better than chance"; null with fewer than three seeds, or without noise."""
    adjusted_p: float | None
    """By Holm's method over all rankings and sizes of the run."""
    tests: int
    """Tests in that family."""
    above_chance: bool | None
    """Whether agreement above chance is shown, at the adjusted p; null where there is no test and the seeds differ."""
    verdict: str
    sentence: str
    residual: float | None
    """Correlation between seeds of what module type and a cubic in depth leave over; the same at every k."""
    residual_low: float | None
    residual_high: float | None
    residual_p: float | None
    """One-sided, of "the seeds share nothing but type and depth"."""
    residual_adjusted_p: float | None
    """By Holm's method over all rankings of the run."""


class RankSetRow(Row):
    """The ranks that one unit may hold, from five seeds on: all sets of a ranking hold together."""

    scorer: str
    data: str | None
    checkpoint: float | None
    number: int
    layer: str
    rank: int
    """Rank of the mean normal score over seeds, from 1."""
    best: int
    """One more than the units that are shown to be more important."""
    worst: int
    """The number of units less those that are shown to be less important."""
    seeds: int
    level: float


class TopSetRow(Row):
    """How many units are shown to be among the top k of a ranking, and how many not to be."""

    scorer: str
    data: str | None
    checkpoint: float | None
    k: int
    of: int
    inside: int
    """Units whose rank set ends at k or before."""
    outside: int
    """Units whose rank set begins after k."""
    open: int
    """All others: another seed may select them or not."""
    seeds: int
    level: float
    sentence: str


CEILINGS = Table("ceilings", CeilingRow)
RANK_SETS = Table("rank_sets", RankSetRow)
TOP_SETS = Table("top_sets", TopSetRow)
