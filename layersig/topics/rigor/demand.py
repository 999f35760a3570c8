"""A demand of the card: whether it is fulfilled, and the figures that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layersig.findings.files import HELDOUT, RunFiles
from layersig.findings.tables import Findings
from layersig.recipe.schema import Recipe
from layersig.topics.rigor.rows import RigorRow, RigorStatus

NOTHING = "The run holds nothing that this item is about."


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that an item of the card needs.

    Attributes:
        holds: Whether the run fulfils it; None where no record can tell and the recipe does not say.
        evidence: Sentences with the figures, or with the key to write.
    """

    holds: bool | None
    evidence: str


@dataclass(frozen=True)
class Records:
    """What the card is filled in from.

    Attributes:
        findings: Everything else that was found.
        files: The run's own records.
        recipe: What was declared.
    """

    findings: Findings
    files: RunFiles
    recipe: Recipe

    @property
    def benchmarks(self) -> list[str]:
        """Tasks other than held-out losses."""
        return [task for task in self.files.task_records if not task.startswith(f"{HELDOUT}/")]


def judged(item: str, *demands: Demand | None, absent: str = NOTHING) -> RigorRow:
    """A row of the card: met where every demand is; an unknown one is asked for, unless another is not met.

    Args:
        item: Its name.
        demands: None where a demand has nothing to judge.
        absent: What the row says where all are None.
    """
    made = [demand for demand in demands if demand is not None]
    if not made:
        return RigorRow(item=item, status="does not apply", evidence=absent)
    verdicts = {demand.holds for demand in made}
    status: RigorStatus = "not met" if False in verdicts else "asked for" if None in verdicts else "met"
    return RigorRow(item=item, status=status, evidence=" ".join(demand.evidence for demand in made))


def span(values: Sequence[int]) -> str:
    """`3`, or `1 to 5`."""
    if not values:
        return "0"
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
