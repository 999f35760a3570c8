"""Whether the seeds of one ranking agree above chance, and on single layers: a part of what a ranking is worth."""

from __future__ import annotations

from layersig.report.document import Block, Bullets, Code, Heading, Table, columns
from layersig.report.material import Material, place_of
from layersig.report.numbers import fixed, level, p_value
from layersig.topics.ceilings.rows import CEILINGS, RANK_SETS, TOP_SETS

_FIRST = 10


def ceilings(material: Material) -> list[Block]:
    """Nothing where no scorer looks at the model."""
    rows = material.findings[CEILINGS]
    if not rows:
        return []
    share = level(rows[0].level)
    table = Table(
        "Do the seeds of one ranking agree? Kappa of the top k (0 at chance), and the correlation between seeds of "
        "what module type and a cubic in depth leave over (0 where seeds agree on these alone). Intervals leave out "
        "one seed at a time; p is one-sided, by Holm's method over all rows of the run",
        columns(
            "ranking",
            "#S",
            "#k",
            f"#kappa [{share} interval]",
            "#p, kappa",
            f"#beyond type and depth [{share} interval]",
            "#p, beyond",
            "agreement of seeds",
        ),
        tuple(
            (
                f"{row.scorer} on {place_of(row.data, row.checkpoint)}",
                str(row.seeds),
                str(row.k),
                _estimate(row.kappa, row.low, row.high),
                p_value(row.adjusted_p),
                _estimate(row.residual, row.residual_low, row.residual_high),
                p_value(row.residual_adjusted_p),
                row.verdict,
            )
            for row in rows
        ),
        "ceilings.csv",
    )
    sentences = Bullets(tuple((row.sentence,) for row in rows))
    return [Heading("Is the ranking above chance?"), sentences, table, *_single_layers(material)]


def _single_layers(material: Material) -> list[Block]:
    """Which ranks the first layers of every ranking may hold; nothing below five seeds."""
    tops, sets = material.findings[TOP_SETS], material.findings[RANK_SETS]
    if not sets:
        return []
    first = [row for row in sorted(sets, key=lambda row: row.rank) if row.rank <= _FIRST]
    table = Table(
        f"Ranks that the first {_FIRST} layers of each ranking may hold: {level(sets[0].level)} sets, which hold for "
        "all layers of a ranking together. Normal scores over seeds, every pair of layers compared by a moderated t "
        "test with Holm's correction. Seeds that rank nearly alike do not tell how far another would differ, and set "
        "no layer apart. The sets of all layers are in the file",
        columns("ranking", "layer", "#rank", "#best", "#worst", "#S"),
        tuple(
            (
                f"{row.scorer} on {place_of(row.data, row.checkpoint)}",
                Code(row.layer),
                str(row.rank),
                str(row.best),
                str(row.worst),
                str(row.seeds),
            )
            for place in dict.fromkeys((row.scorer, row.data, row.checkpoint) for row in sets)
            for row in first
            if (row.scorer, row.data, row.checkpoint) == place
        ),
        "rank_sets.csv",
    )
    return [Heading("Which single layers are known?"), Bullets(tuple((row.sentence,) for row in tops)), table]


def _estimate(value: float | None, low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return fixed(value, 2)
    return f"{fixed(value, 2)} [{fixed(low, 2)}, {fixed(high, 2)}]"
