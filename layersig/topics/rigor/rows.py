"""Rows of the rigor card and of the limitations."""

from __future__ import annotations

from typing import Literal

from layersig.findings.rows.base import Row, Table

RigorStatus = Literal["met", "not met", "asked for", "does not apply"]
"""`asked for`: no record can know it, and the recipe does not say it; the evidence names the key to write."""


class LimitationRow(Row):
    """A limit of what the run shows, or a threat to its validity, with its figure."""

    kind: Literal["limitation", "threat"]
    """A `limitation` bounds what a claim covers; a `threat` may make it wrong."""
    topic: str
    sentence: str


class RigorRow(Row):
    """An item of the checklist that reviewers apply, filled in from the records of the run."""

    item: str
    status: RigorStatus
    evidence: str


RIGOR = Table("rigor", RigorRow)
LIMITATIONS = Table("limitations", LimitationRow)
