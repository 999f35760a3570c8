"""Rows about layers, rankings and selections."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Table


class LayerRow(Row):
    """A layer, or a unit of layers that scores cover: a block, or a part of a block."""

    number: int
    """Place in the forward pass, from 0."""
    layer: str
    """Full name in the model."""
    block: int | None
    """Index of the block, from 0; null for the output head."""
    kind: str
    """Module type."""
    parameters: int
    """Weights in it."""


class RankingRow(Row):
    """A ranking: the scores of one scorer on one data set at one checkpoint, over its seeds."""

    scorer: str
    kind: str
    """Registered kind of the scorer."""
    control: bool
    """True for scorers that ignore model and data: random, first-k, last-k."""
    data: str | None
    checkpoint: float | None
    runs: int
    """Rankings averaged: one a seed."""
    ties: int
    """Units that share their score with another, in the run that has most."""
    coverage: float | None
    """Share of the units with a score of their own, where the ranking was carried over from another run."""


class RankedLayerRow(Row):
    """The score of one unit, averaged over the seeds of a ranking."""

    scorer: str
    data: str | None
    checkpoint: float | None
    number: int
    layer: str
    block: int | None
    kind: str
    score: float
    """Mean over seeds; higher is more important."""
    score_low: float
    """Smallest over seeds."""
    score_high: float
    """Largest over seeds."""
    rank: int
    """Rank of the mean score, from 1; ties keep model order."""
    rank_low: int
    """Best rank in any seed: a range, not an interval."""
    rank_high: int
    """Worst rank in any seed."""


class ConcentrationRow(Row):
    """How many of the top k units of a ranking fall on a module type or a part of the depth."""

    scorer: str
    data: str | None
    checkpoint: float | None
    k: int
    by: Literal["kind", "depth"]
    group: str
    """Module type, or a range of blocks."""
    layers: int
    """Units in the group."""
    selected: float
    """Units of the group among the top k, mean over seeds."""
    selected_low: int
    """Fewest in any seed: a range, not an interval."""
    selected_high: int
    share: float
    """selected / layers."""
    expected: float
    """Share expected without any preference: k / all units."""


class SelectionRow(Row):
    """The layers that an arm tunes or keeps, over the seeds of a data set."""

    arm: str
    data: str | None
    policy: str
    """The policy and its parameters."""
    scorers: tuple[str, ...]
    """Scorers whose rankings the policy reads."""
    ranked_on: tuple[str, ...]
    """Data sets whose rankings those are, by their names in the recipe; none where it is the one that is tuned on."""
    control: bool
    """True for random layers, rules, and scorers that ignore the model."""
    action: str
    runs: int
    layers: float
    """Selected layers, mean over seeds."""
    of: int
    parameters: float
    """Weights in the selected layers, mean over seeds."""
    share_of_parameters: float


class SelectedLayerRow(Row):
    """How many runs of an arm selected a layer."""

    arm: str
    data: str | None
    number: int
    layer: str
    block: int | None
    kind: str
    selected: int
    runs: int


LAYERS = Table("layers", LayerRow)
UNITS = Table("units", LayerRow)
RANKINGS = Table("rankings", RankingRow)
RANKED_LAYERS = Table("ranked_layers", RankedLayerRow)
CONCENTRATION = Table("concentration", ConcentrationRow)
SELECTIONS = Table("selections", SelectionRow)
SELECTED_LAYERS = Table("selected_layers", SelectedLayerRow)
