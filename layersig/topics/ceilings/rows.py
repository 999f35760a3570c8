"""Rows about the agreement of the seeds of one ranking."""

from __future__ import annotations

from layersig.findings.rows.base import Row


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
