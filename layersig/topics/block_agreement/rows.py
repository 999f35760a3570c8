"""Rows about two scores of the same blocks."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class BlockCorrelationRow(Row):
    """Rank correlation of two scorers over the blocks of a model, with and without the first block."""

    a: str
    b: str
    data: str | None
    checkpoint: float | None
    runs: int
    """Seeds that both have; scores are averaged over the seeds of each scorer."""
    blocks: int
    correlation: float
    """Spearman's, of the averages."""
    low: float
    """Interval that counts neighbouring blocks as fewer than they are."""
    high: float
    level: float
    effective: float
    """Independent blocks that carry as much information."""
    run_low: float
    """Smallest correlation of one seed: a range, not an interval."""
    run_high: float
    inner: float
    """The same without the first block, which is unlike all others."""
    inner_low: float
    inner_high: float
    residual: float | None
    """Correlation of what a cubic in depth leaves over, without the first and last two blocks; null with fewer than 12
    blocks."""
    declared: bool
    """Whether `analyze.sharing` names both scorers and all of these rankings were scored after it was on record."""
    p: float | None
    """Its two-sided p-value against depth-preserving surrogates."""
    adjusted_p: float | None
    """By Holm's method over all pairs of the run, declared ones apart from the others."""
    draws: int


BLOCK_CORRELATIONS = Table("block_correlations", BlockCorrelationRow)
