"""Rows about necessity and plasticity of blocks."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class BridgeRow(Row):
    """Rank correlation over blocks: what the pretrained model loses without a block, and how far training moves it."""

    necessity: str
    """The scorer that takes blocks away."""
    plasticity: str
    """The scorer of the update, summed up by block."""
    data: str | None
    blocks: int
    runs: int
    """Seeds; scores are averaged over them."""
    correlation: float
    """Spearman's, of the averages."""
    low: float
    high: float
    level: float
    effective: float
    """Independent blocks that carry as much information: neighbours are alike."""
    run_low: float
    """Smallest correlation of a single run."""
    run_high: float
    residual: float | None
    """Correlation of what a cubic in depth leaves over, without the first and last two blocks; null with fewer than 12
    blocks."""
    p: float | None
    """Two-sided p-value of it, against depth-preserving surrogates: could two smooth series agree as much by accident?
    """
    draws: int


class BridgeBlockRow(Row):
    """One block in the comparison of necessity and plasticity; rank 1 is the greatest."""

    necessity: str
    plasticity: str
    data: str | None
    block: int
    layer: str
    necessity_score: float
    plasticity_score: float
    necessity_rank: int
    plasticity_rank: int


BRIDGE = Table("bridge", BridgeRow)
BRIDGE_BLOCKS = Table("bridge_blocks", BridgeBlockRow)
