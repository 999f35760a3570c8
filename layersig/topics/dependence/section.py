"""What the agreement of rankings depends on: properties of the data against how far rankings agree."""

from __future__ import annotations

from layersig.report.document import Bullets, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, p_value
from layersig.topics.dependence.rows import DEPENDENCE


def section(material: Material) -> Section | None:
    """None with fewer than three data sets, or with one seed."""
    rows = material.findings[DEPENDENCE]
    if not rows:
        return None
    about = Paragraph(
        (
            "Within: kappa between two seeds of one data set, against a property of that data set (Kendall's tau; "
            "the interval is that of Theil and Sen's slope, the change of kappa for a unit of the property). "
            "Between: kappa of two data sets, of different seeds, against how much the two differ (Mantel's test; "
            "the interval is that of the correlation, leaving out one data set at a time). Both tests permute the "
            "data sets, all orders of up to seven; p is corrected by Holm's method, declared rows apart from the "
            "others. Data sets whose rankings are noisy also agree less with others, so read both. The effects of "
            "properties that change together cannot be separated, and nothing here shows a cause.",
        )
    )
    heads = columns(
        "scorer", "agreement", "property", "#k", "#data sets", "#tau or r", "#slope", "#interval", "#p",
        "#p, corrected", "verdict",
    )  # fmt: skip
    body = tuple(
        (
            row.scorer,
            row.quantity,
            row.property,
            str(row.k),
            str(row.data_sets),
            fixed(row.value, 2),
            fixed(row.slope, 3),
            "\u2013" if row.low is None else f"[{fixed(row.low, 3)}, {fixed(row.high, 3)}]",
            p_value(row.p),
            p_value(row.adjusted_p),
            row.verdict,
        )
        for row in rows
    )
    table = Table("Agreement of rankings against properties of the data", heads, body, "dependence.csv")
    sentences = Bullets(tuple((row.sentence,) for row in rows))
    return Section("dependence", "What agreement depends on", (about, sentences, table))
