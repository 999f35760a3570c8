"""The rigor card."""

from __future__ import annotations

from layersig.report.document import Paragraph, Section, Strong, Table, columns
from layersig.report.material import Material
from layersig.topics.rigor.rows import RIGOR

_SIGNS = {
    "met": "\u2713 met",
    "not met": "\u2717 not met",
    "asked for": "? asked for",
    "does not apply": "\u2013 does not apply",
}


def section(material: Material) -> Section | None:
    """The checklist that reviewers apply, as the findings filled it in."""
    rows = material.findings[RIGOR]
    if not rows:
        return None
    met, asked = (sum(row.status == status for row in rows) for status in ("met", "asked for"))
    applicable = sum(row.status != "does not apply" for row in rows)
    about = Paragraph(
        (
            Strong(f"{met} of {applicable} items that apply are met."),
            f" {asked} more can only be stated in the recipe. Everything else is filled in from the records of this "
            "run, "
            "never by hand.",
        )
    )
    body = tuple((row.item, _SIGNS[row.status], row.evidence) for row in rows)
    return Section(
        "rigor",
        "Rigor card",
        (about, Table("What reviewers ask", columns("item", "status", "evidence"), body, "rigor.csv")),
    )
