"""Rows about what changes with the size of a model, and about necessity and plasticity in several models."""

from __future__ import annotations

from layersig.findings.rows.base import Row


class ModelSizeRow(Row):
    """A value of one model beside its size."""

    model: str
    weights: int
    """In linear layers that are ranked; embeddings are not counted."""
    blocks: int
    quantity: str
    """`agreement of seeds` (kappa), `agreement with NAME` (kappa with the largest model's own ranking, carried to its
    layers), or `gain kept` (share of the gain of all layers, by the primary arms and their random controls)."""
    subject: str
    """Which ranking, or which arm on which task."""
    value: float
    low: float | None
    high: float | None
    level: float
    """Coverage of the model's own interval."""
    control: bool
    """True for a random control: what as many layers keep by chance. It has no trend of its own."""
    tested: bool
    """Whether the value takes part in a trend. Not that of a control, nor a share of a gain that is not shown to be
    above the margin, nor one whose set is unbounded."""


class ModelTrendRow(Row):
    """Whether a value rises or falls with the size of the model."""

    quantity: str
    subject: str
    models: int
    tau: float
    """Kendall's, over models in order of their weights."""
    slope: float
    """Change when the number of weights doubles (Theil and Sen)."""
    low: float | None
    """Exact interval of the slope; null with fewer than five models."""
    high: float | None
    level: float
    p: float
    """Two-sided, over all orders of the models (more than seven: over 9,999 of them)."""
    least_p: float
    """The smallest p-value that so many models allow."""
    adjusted_p: float
    """Holm's, over all rows."""
    verdict: str
    sentence: str


class ModelBridgeRow(Row):
    """Necessity and plasticity of the blocks of one model."""

    model: str
    necessity: str
    plasticity: str
    data: str | None
    blocks: int
    runs: int
    correlation: float
    low: float
    high: float
    level: float
    residual: float | None
    """Beyond smooth depth; null with fewer than 12 blocks."""
    p: float | None
    adjusted_p: float | None
    """Holm's, over all models and pairs of scorers."""
    verdict: str
    sentence: str


class BridgeSummaryRow(Row):
    """The mean correlation over models, each counting once."""

    necessity: str
    plasticity: str
    data: str | None
    quantity: str
    """`correlation` (depth included) or `residual` (beyond smooth depth)."""
    models: int
    mean: float
    """Of Fisher's z, as a correlation."""
    low: float | None
    """t interval over models; null with fewer than three."""
    high: float | None
    least: float
    """The smallest correlation of a model."""
    most: float
    level: float
    p: float | None
    adjusted_p: float | None
    """Holm's, over all rows; the verdict follows from it."""
    verdict: str
    sentence: str
