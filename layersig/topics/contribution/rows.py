"""Rows about what training one unit alone gains."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class ContributionRow(Row):
    """One unit trained alone, in one run of `layer-contribution`."""

    scorer: str
    data: str | None
    seed: int | None
    layer: str
    block: int | None
    groups: int
    """Groups of conversations that losses are measured on; the sampling units of all intervals."""
    gain: float
    """Fall of the loss in nats per target token, on the conversations that rank the units."""
    low: float
    """Ends of the max-T band, which covers the gains of all units together."""
    high: float
    adjusted_p: float
    """Two-sided, of no gain, corrected for the largest of all units (single-step max-T)."""
    contribution: float | None
    """C: the gain over that of training everything; null where that is exactly 0."""
    shape: str | None
    """Shape of Fieller's set of C."""
    contribution_low: float | None
    """Null where the set is unbounded on that side."""
    contribution_high: float | None
    fresh_gain: float
    """The gain on conversations that had no part in ranking the units."""
    fresh_contribution: float | None
    fresh_shape: str | None
    fresh_low: float | None
    """Fieller's set of C there."""
    fresh_high: float | None
    level: float


CONTRIBUTIONS = Table("contributions", ContributionRow)
