"""Rows about what the untouched model may have seen before."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class MemorisationRow(Row):
    """What the probes of memorisation give for a task, on the untouched model."""

    task: str
    n: int
    """Items."""
    clusters: int | None
    """Independent groups of items, where items are not independent."""
    min_k: float
    """Mean over items of the mean log-probability of the 20 % least likely tokens of an item's text, in nats."""
    min_k_low: float | None
    min_k_high: float | None
    reordered: int
    """Items whose choices the model is shown, so that they can be put in another order."""
    order: float | None
    """Min-k % as published minus with the choices in another order: above 0 where the published order is likelier."""
    order_low: float | None
    order_high: float | None
    order_p: float | None
    """One-sided, of "no order is likelier", over items or clusters; null where nothing varied."""
    order_adjusted_p: float | None
    """By Holm's method over both probes of all tasks."""
    acc: float | None
    """Accuracy on those items as published."""
    acc_reordered: float | None
    loss: float | None
    """What reordering costs: acc minus acc_reordered."""
    loss_low: float | None
    loss_high: float | None
    loss_p: float | None
    """One-sided, of "reordering costs nothing"."""
    loss_adjusted_p: float | None
    seen: bool
    """Whether a probe shows, at its adjusted p, that the model has seen the items; False does not show the contrary."""
    level: float
    """Of the intervals, which are not corrected."""
    sentence: str


MEMORISATION = Table("memorisation", MemorisationRow)
