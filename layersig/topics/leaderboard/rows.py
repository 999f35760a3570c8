"""Rows that put scorers side by side: what their layers are worth, what rankings cost, and what they may measure."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class LeaderRow(Row):
    """A scorer on one data set, and an arm that reads it alone; everything here stands in another table too."""

    scorer: str
    kind: str
    data: str | None
    arm: str | None
    """Null where no arm was measured that reads this scorer alone."""
    task: str | None
    """Of `kept` and the two comparisons: the declared outcome, else the held-out loss, else the first task."""
    metric: str | None
    k: int
    of: int
    kept: float | None
    """Share of the gain of all layers that the arm keeps (`shares`)."""
    kept_shape: str | None
    kept_low: float | None
    kept_high: float | None
    seconds: float | None
    """Of one ranking, mean over its runs, without the reference training (`costs`)."""
    of_training: float | None
    """The same over the time of one reference training; null where none was timed."""
    reads_update: bool
    """Whether the scorer takes the reference training too."""
    stability: float | None
    """Kappa of the rankings of two seeds (`stability`, `within`)."""
    stability_low: float | None
    stability_high: float | None
    leave_one_out: float | None
    """Rank correlation with leave-one-out (`estimators`): corrected for noise where it can be, else raw."""
    leave_one_out_corrected: bool
    leave_one_out_low: float | None
    leave_one_out_high: float | None
    rule: str | None
    """The rule of place that gives most of the same layers (`sanity`)."""
    rule_kappa: float | None
    nonsense: float | None
    """Agreement with the ranking on random tokens over that of two seeds (`texts`); null without such data."""
    open_places: float | None
    """Places of the top k that equal scores leave open (`ties`)."""
    random_sets: int
    """Random sets of the arm's counts by type that it stands among (`control_sets`), or 1 compared in pairs."""
    random_p: float | None
    """Adjusted p of being better than random: by the rank among 19 or more sets, else of the one comparison, where
    several seeds say how sets differ."""
    random_verdict: str | None
    """`better`, `not shown to be better`, or the verdict on the one comparison."""
    rule_difference: float | None
    """Arm minus the rule of module type and depth (`comparisons`)."""
    rule_low: float | None
    rule_high: float | None
    rule_p: float | None
    rule_verdict: str | None


LEADERBOARD = Table("leaderboard", LeaderRow)
