"""Rows about single units: signal, inputs, cost and score."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class LayerCardRow(Row):
    """One unit by a run of `whitened-gradient`, over its seeds."""

    scorer: str
    data: str | None
    layer: str
    block: int | None
    kind: str
    runs: int
    signal: float
    """Gradient norm where inputs are white, mean over seeds: the root of twice what the best linear change of the
    unit takes off a squared loss."""
    signal_se: float | None
    """Over seeds; null with one."""
    energy: float
    """Trace of the covariance of the inputs, mean over seeds; summed over the layers of the unit."""
    condition: float
    """Condition number of that covariance with the ridge of the scorer, median over seeds; the largest of the unit."""
    time: float | None
    """What training the unit alone takes of the time of training all, by multiplications in the blocks; null where the
    tuning method is not known."""
    scored_by: str | None
    """The scorer of the next column: the first other one, primary scorers before others."""
    score: float | None
    score_se: float | None


LAYER_CARDS = Table("layer_cards", LayerCardRow)
