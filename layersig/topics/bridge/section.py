"""Necessity beside plasticity: what the model cannot lack, and what training moves."""

from __future__ import annotations

from layersig.report.charts.scatter import Point, Scatter, scatters
from layersig.report.document import Code, Figure, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, number, p_value
from layersig.report.svg import described, draw
from layersig.topics.bridge.rows import BRIDGE, BRIDGE_BLOCKS

_MOST_SCATTERS = 4


def section(material: Material) -> Section | None:
    """None unless the recipe scores both."""
    rows = material.findings[BRIDGE]
    if not rows:
        return None
    about = Paragraph(
        (
            "Necessity is what the pretrained model loses without a block, plasticity how far training moves it. If "
            "the two rank blocks alike, layers that matter for pruning are those that matter for tuning; a negative "
            "correlation says that training moves what the model could lack. Neighbouring blocks are alike, so the "
            "interval counts fewer than all blocks. A trend over depth that both have makes them correlate too; the "
            "residual correlation leaves it out, with a cubic in depth and the first and last two blocks, and p is its "
            "two-sided test against surrogates that are as smooth over depth. With fewer than 12 blocks there is no "
            "such test. One model: it says nothing of others.",
        )
    )
    table = Table(
        "Rank correlation of necessity and plasticity over blocks",
        columns(
            "necessity",
            "plasticity",
            "data",
            "#correlation [interval]",
            "#single runs",
            "#blocks",
            "#effective blocks",
            "#residual correlation",
            "#p, residuals",
        ),
        tuple(
            (
                Code(row.necessity),
                Code(row.plasticity),
                row.data or "no data",
                f"{fixed(row.correlation, 2)} [{fixed(row.low, 2)}, {fixed(row.high, 2)}]",
                f"{fixed(row.run_low, 2)} to {fixed(row.run_high, 2)}",
                str(row.blocks),
                fixed(row.effective, 1),
                fixed(row.residual, 2),
                p_value(row.p),
            )
            for row in rows
        ),
        "bridge.csv",
    )
    return Section("bridge", "Necessity and plasticity", (about, table, _figure(material)))


def _figure(material: Material) -> Figure:
    drawn = []
    for row in material.findings[BRIDGE][:_MOST_SCATTERS]:
        points = tuple(
            Point(
                each.necessity_rank,
                each.plasticity_rank,
                "block",
                f"{each.block}  {each.layer}\n{each.necessity}: {number(each.necessity_score, 4)}\n"
                f"{each.plasticity}: {number(each.plasticity_score, 4)}",
            )
            for each in material.findings[BRIDGE_BLOCKS]
            if (each.necessity, each.plasticity, each.data) == (row.necessity, row.plasticity, row.data)
        )
        title = f"on {row.data}" if row.data else ""
        drawn.append(Scatter(title, f"rank by {row.necessity}", f"rank by {row.plasticity}", len(points), points))
    alt = "Rank of every block by necessity and by plasticity; on the diagonal the two agree."
    return Figure(
        "bridge",
        "Necessity against plasticity",
        described(draw(scatters(drawn), "bridge"), alt),
        alt,
        "A dot is a block; those that matter most in both ways are at the top right.",
        ("bridge_blocks.csv",),
    )
