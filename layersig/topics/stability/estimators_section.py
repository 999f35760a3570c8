"""Do estimators agree? Rank correlations of every two scorers, raw and corrected for noise."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.matrix import Entry, Matrix, matrices
from layersig.report.document import Block, Figure, Heading, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, plural, set_of
from layersig.report.svg import described, draw
from layersig.topics.stability.rows import ESTIMATORS, EstimatorRow


def estimators(material: Material) -> list[Block]:
    """A heat map of the correlations and a table with their sets; empty for a single scorer."""
    rows = material.findings[ESTIMATORS]
    if not rows:
        return []
    table = Table(
        "Rank correlation of scorers, raw and corrected for the noise of each. Runs of different seeds are paired, "
        "since those of one seed may share a training; with a single seed the value is somewhat too high for that",
        columns(
            "scorer",
            "scorer",
            "data",
            "#Spearman",
            "#reliability of the first",
            "#of the second",
            "#corrected",
            "#set",
            "#runs",
        ),
        tuple(
            (
                r.a,
                r.b,
                r.data or "\u2013",
                fixed(r.correlation, 2),
                fixed(r.reliability_a, 2),
                fixed(r.reliability_b, 2),
                fixed(r.corrected, 2),
                set_of(r.shape, r.low, r.high, _end),
                str(r.runs),
            )
            for r in rows
        ),
        "estimators.csv",
    )
    return [Heading("Do estimators agree?"), _correlations(rows), table]


def _correlations(rows: Sequence[EstimatorRow]) -> Figure:
    """Every two scorers as a heat map, one for each data set."""
    drawn = []
    for data in dict.fromkeys(row.data for row in rows):
        own = [row for row in rows if row.data == data]
        names = tuple(dict.fromkeys(name for row in own for name in (row.a, row.b)))
        entries = []
        for row in own:
            tip = f"{row.a} and {row.b}\nSpearman {fixed(row.correlation, 2)} ({plural(row.runs, 'run')})"
            if row.corrected is not None:
                tip += f"\ncorrected for noise {fixed(row.corrected, 2)} {set_of(row.shape, row.low, row.high, _end)}"
            if row.correlation is not None:
                entries += [Entry(one, other, row.correlation, tip) for one, other in ((row.a, row.b), (row.b, row.a))]
        known = {name: value for row in own for name, value in ((row.a, row.reliability_a), (row.b, row.reliability_b))}
        entries += [
            Entry(name, name, value, f"{name}\nSpearman of two seeds, its reliability: {fixed(value, 2)}")
            for name, value in known.items()
            if value is not None
        ]
        drawn.append(Matrix(f"Spearman correlation on {data or 'no data'}", names, tuple(entries)))
    alt = "Rank correlation of every two scorers; the table holds the same numbers, with reliabilities and intervals."
    return Figure(
        "estimators",
        "Correlation of every two scorers",
        described(draw(matrices(drawn), "estimators"), alt),
        alt,
        "Mean over pairs of runs; hover tells the correlation corrected for noise with its set. On the diagonal: two "
        "seeds of one scorer, the most that a raw correlation can be expected to reach; empty with fewer than three.",
        ("estimators.csv",),
    )


def _end(value: float | None) -> str:
    return fixed(value, 2)
