"""Rows about the course of trainings: how far they went, whether the loss and the ranking were stable by then."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class TrainingRow(Row):
    """How far a training went, and whether its loss was epsilon-stable."""

    arm: str
    """`all-layers` for the reference training."""
    data: str | None
    seed: int | None
    steps: int
    planned_steps: int
    continued_from: int
    """Steps that an equal training had done before; 0 for none."""
    seconds_per_step: float | None
    seconds_saved: float | None
    """Of the planned steps that were not trained because nothing reads them, at the time that a step took."""
    epsilon: float
    """Largest relative change of the smoothed loss that counts as none."""
    window: int
    """Steps that are averaged, and for which the change must stay that small."""
    stable_from: int | None
    """Step from which on the loss is stable; null where it is not, or where it is too short to tell."""
    change: float | None
    """Relative change of the smoothed loss at the end; null where there are fewer steps than two windows."""
    noise: float | None
    """Standard error of that change from the scatter of batches."""
    verdict: str
    rank_stable_at: int | None = None
    """Step at which `train.until` found the ranking by size of update stable; null where it did not, or was not set."""
    rank_taus: tuple[float, ...] = ()
    """Kendall's tau-b of that ranking with the look before, at every look from the second on."""
    rank_rule: str | None = None
    """What the looks came to; null where there were none."""


class SuccessiveRow(Row):
    """Agreement of a scorer's rankings at two successive milestones of the same trainings."""

    kind: str
    data: str | None
    checkpoint: float
    next: float
    k: int
    of: int
    kappa: float
    """Mean over seeds."""
    low: float | None
    """t interval over seeds; null with fewer than three seeds, or where they do not differ."""
    high: float | None
    level: float
    tau: float | None
    """Kendall's tau-b of the whole rankings, mean over seeds."""
    runs: int


class MilestoneRow(Row):
    """Agreement of a milestone with the last checkpoint of other runs, against the agreement of those: the ceiling."""

    kind: str
    scorers: tuple[str, str]
    """Names of the scorers of the milestone and of the last checkpoint."""
    data: str | None
    checkpoint: float
    last: float
    k: int
    of: int
    agreement: float
    """Kappa of the top k, mean over pairs of different seeds."""
    agreement_low: float | None
    """Jackknife over seeds; null with fewer than three."""
    agreement_high: float | None
    ceiling: float
    ceiling_low: float | None
    ceiling_high: float | None
    share: float | None
    """Agreement over ceiling."""
    shape: str | None
    """Shape of Fieller's set of the share."""
    low: float | None
    high: float | None
    level: float
    required: float
    """Share that the test is about: `analyze.sharing_margin`."""
    declared: bool
    """Whether `analyze.sharing` names the scorers and all rankings of the series were scored after it was on record."""
    p: float | None
    """One-sided p-value of the share being at most that; null where there is no test."""
    adjusted_p: float | None
    """Milestones in a fixed sequence from the last to the first, times the number of such sequences, declared ones
    apart from the others."""
    seeds: int
    verdict: str
    sentence: str
    seconds: float | None = None
    """What the reference training takes up to the milestone, mean over seeds; null where its speed is not on record."""


TRAININGS = Table("trainings", TrainingRow)
SUCCESSIVE = Table("successive", SuccessiveRow)
MILESTONES = Table("milestones", MilestoneRow)
