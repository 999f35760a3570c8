"""Do scores agree over the blocks? One line for every two scorers."""

from __future__ import annotations

from layersig.analysis.sentences import status_of
from layersig.report.document import Code, Paragraph, Section, Table, columns
from layersig.report.material import Material, place_of
from layersig.report.numbers import fixed, p_value
from layersig.topics.block_agreement.rows import BLOCK_CORRELATIONS


def section(material: Material) -> Section | None:
    """None unless two scorers score blocks."""
    rows = material.findings[BLOCK_CORRELATIONS]
    if not rows:
        return None
    about = Paragraph(
        (
            "Does one score of blocks predict another? Neighbouring blocks are alike, so the intervals count fewer "
            "than all blocks. The first block is unlike all others and can make a correlation alone, so it is left "
            "out once. A trend over depth that both scores have makes them correlate too; the residual correlation "
            "leaves it out, with a cubic in depth and the first and last two blocks, and p is its two-sided test "
            "against surrogates that are as smooth over depth, by Holm's method over all pairs, declared "
            "ones apart from the others.",
        )
    )
    table = Table(
        "Rank correlation of every two scorers over blocks",
        columns(
            "scorer",
            "other scorer",
            "data",
            "#correlation [interval]",
            "#single seeds",
            "#without the first block",
            "#effective blocks",
            "#residual correlation",
            "#p, residuals",
            "#S",
            "status",
        ),
        tuple(
            (
                Code(row.a),
                Code(row.b),
                place_of(row.data, row.checkpoint),
                f"{fixed(row.correlation, 2)} [{fixed(row.low, 2)}, {fixed(row.high, 2)}]",
                f"{fixed(row.run_low, 2)} to {fixed(row.run_high, 2)}",
                f"{fixed(row.inner, 2)} [{fixed(row.inner_low, 2)}, {fixed(row.inner_high, 2)}]",
                fixed(row.effective, 1),
                fixed(row.residual, 2),
                p_value(row.adjusted_p),
                str(row.runs),
                status_of(row.declared).lower(),
            )
            for row in rows
        ),
        "block_correlations.csv",
    )
    return Section("block-agreement", "Do scores agree over the blocks?", (about, table))
