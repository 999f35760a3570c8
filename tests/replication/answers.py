"""What a page says: the answer to a question, with its figures, tables and the sentences that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.replication.extracts import Extract

Extracts = Mapping[str, Extract]


class Holds(StrEnum):
    """Whether a published claim holds for this model and these data sets."""

    YES = "yes"
    NO = "no"
    PARTLY = "in part"
    UNDECIDED = "undecided"
    NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, as figures show it.

    Attributes:
        label: What is estimated.
        group: What it is estimated on, such as a data set.
        value: The estimate.
        low: Lower end of the interval; None for unbounded or unknown.
        high: Upper end.
    """

    label: str
    group: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Chart:
    """A figure of estimates.

    Attributes:
        title: What it shows.
        axis: The quantity, with its unit.
        estimates: A line each.
        reference: Value that means no difference, or the published one.
        margin: Half-width of the band around it that counts as none.
    """

    title: str
    axis: str
    estimates: Sequence[Estimate]
    reference: float = 0.0
    margin: float | None = None


@dataclass(frozen=True)
class Table:
    """A table of a page, cells as text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table below its caption."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return f"{self.caption}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Answer:
    """What the runs say to a question.

    Attributes:
        holds: Whether the claim holds here.
        evidence: The figures that this follows from; in its first sentence those of the verdict.
        charts: Figures.
        tables: Tables.
        sentences: Verdicts as the reports of the runs state them.
    """

    holds: Holds
    evidence: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    sentences: Sequence[str] = ()

    @property
    def summary(self) -> str:
        """The first sentence of the evidence."""
        first, dot, _ = self.evidence.partition(". ")
        return f"{first}." if dot else first

    @property
    def has_figure(self) -> bool:
        """Whether a chart has anything to show."""
        return any(chart.estimates for chart in self.charts)


Reply = Callable[[Extracts], Answer]


@dataclass(frozen=True)
class Question:
    """A page: the prose of `questions.toml`, and how it is answered.

    Attributes:
        name: Name of its file.
        title: The question.
        claim: What was published, and by whom.
        done: What was done, without figures: those are in the records.
        scope: What the size and the tuning of the model mean for this claim.
        decide: What it would take to decide more.
        parts: Parts that it takes.
        repeats: Parts that repeat a study on other rows of the same data sets.
        answer: From the extracts of all parts, and of those repeats that were run.
    """

    name: str
    title: str
    claim: str
    done: str
    scope: str
    decide: str
    parts: Sequence[str]
    repeats: Sequence[str]
    answer: Reply


def settled(found: Sequence[bool | None]) -> Holds:
    """One answer from several: each holds, does not, or is undecided (None).

    In part: some hold. No: none is shown to hold, and some are shown not to.
    """
    if found and all(found):
        return Holds.YES
    if any(found):
        return Holds.PARTLY
    return Holds.NO if False in found else Holds.UNDECIDED
