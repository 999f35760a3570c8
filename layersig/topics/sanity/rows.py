"""Rows about what a score of layers might be measuring other than what it is meant to."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class SanityRow(Row):
    """The top k of one ranking beside a rule that looks at neither model nor data."""

    scorer: str
    checkpoint: float | None
    data: str | None
    runs: int
    k: int
    of: int
    rule: str
    """`first-k`, `last-k`, `middle`, `ends` (the first k - 1 and the last), or `type x depth`: a cubic in depth for
    every module type, fitted to another run of the same ranking where there is one, else to the run itself."""
    kappa: float
    """Chance-corrected overlap with the rule, mean over runs and in expectation over random tie-breaking."""
    low: float | None
    """Interval over runs; null with fewer than three, and for `type x depth`, whose fits share runs."""
    high: float | None
    level: float
    chance_low: float
    """Lower end of the central 95 % range of a uniformly drawn set."""
    chance_high: float
    ceiling: float | None
    """Kappa of the ranking's own runs with one another; null with fewer than two."""


class TieRow(Row):
    """Units with equal scores in one ranking, and what scores owe to the size of units."""

    scorer: str
    checkpoint: float | None
    data: str | None
    runs: int
    k: int
    of: int
    tied: float
    """Units whose score another unit has too, mean over runs."""
    undecided: float
    """Places of the top k that go to one of several units with equal scores: a selection fills them in model order;
    mean over runs."""
    size_correlation: float | None
    """Spearman's, of mean scores with the number of weights; null where all units or all scores are alike."""


class TextRow(Row):
    """Agreement of one scorer's rankings on two texts."""

    scorer: str
    checkpoint: float | None
    a: str
    """A data set as it is."""
    b: str
    text: str
    """What the second one is: `natural` (another data set), `shuffled-words` or `random-tokens`."""
    k: int
    of: int
    kappa: float
    """Mean over pairs of runs of different seeds, or of all runs where there is one seed."""
    ceiling: float | None
    """Kappa of different seeds of one data set, mean over the two; null with one seed."""
    ratio: float | None
    """Kappa over the ceiling: 1 where the text makes no difference. Null without a ceiling above chance."""
    lower: float | None
    """One-sided lower bound of the ratio; null with fewer than three seeds."""
    adjusted_p: float | None
    """Of "the ratio is no more than the margin", corrected over all pairs, rankings and sizes; null with fewer than
    five seeds."""
    verdict: str | None
    """Of the sharing test, after that correction; null with fewer than two seeds."""


SANITY = Table("sanity", SanityRow)
TIES = Table("ties", TieRow)
TEXTS = Table("texts", TextRow)
