"""Overlap of two rankings: beyond type and depth, run by run, and against permutations of layers."""

from __future__ import annotations

from layersig.findings.rows.layers import RANKINGS
from layersig.report.document import Block, Bullets, Column, Details, Heading, Paragraph, Strong, Table, Text, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, level, p_value
from layersig.topics.stability.rows import JACCARD_MATRIX, OVERLAP_TESTS, RESIDUAL_TESTS

_MOST_SENTENCES = 24


def beyond_type_and_depth(material: Material) -> list[Block]:
    """Correlations of the residuals of two rankings, with their tests."""
    rows = material.findings[RESIDUAL_TESTS]
    if not rows:
        return []
    about = Paragraph(
        (
            "Of every ranking the residuals of a fit of module type and a cubic in depth are compared, without the "
            "first and last two blocks, which are unlike the others in most models. The p-value is the larger of two: "
            "one against surrogates whose frequencies are turned at random, which keeps smoothness over depth and the "
            "bond of the types of a block, and one against random signs of blocks, which keeps single odd blocks. It "
            "holds its level for trends of any slope, random walks, growing variance and odd end blocks, but not where "
            "more than two blocks at an end are unlike the rest. Runs of one seed may share "
            "a training and are not paired",
            ", except where there is no other pair (marked *)." if any(row.one_seed for row in rows) else ".",
        )
    )
    table = Table(
        "Do two rankings agree beyond module type and smooth depth? Correlation of residuals, 0 where they do not, "
        "negative where they oppose each other; two-sided p, and by Holm's method over all rows of this table",
        columns("ranking", "ranking", "#residual correlation [interval]", "#pairs of runs", "#p", "#p (Holm)"),
        tuple(
            (
                r.a,
                r.b,
                f"{fixed(r.correlation, 2)} [{fixed(r.low, 2)}, {fixed(r.high, 2)}]",
                f"{r.pairs}{'*' if r.one_seed else ''}",
                p_value(r.p),
                p_value(r.adjusted_p),
            )
            for r in rows
        ),
        "residual_tests.csv",
    )
    return [Heading("Agreement beyond type and depth"), about, table]


def jaccard_of_runs(material: Material) -> list[Block]:
    """Jaccard indices of single runs, with their intervals."""
    controls = {row.scorer for row in material.findings[RANKINGS] if row.control}
    rows = [
        row
        for row in material.findings[JACCARD_MATRIX]
        if row.low is not None and controls.isdisjoint(name.partition("/")[0] for name in (row.a, row.b))
    ]
    if not rows:
        return []
    table = Table(
        "Jaccard index of single runs: mean over pairs of runs of different seeds, with a jackknife interval that "
        "leaves out one seed at a time. A ranking with itself is the noise ceiling. The bootstrap over seeds is shown "
        "for comparison: with few seeds it is too short",
        columns(
            "ranking",
            "ranking",
            "#k",
            "#Jaccard",
            f"#{level(rows[0].level)} interval",
            "#bootstrap",
            "#chance",
            "#pairs of runs",
        ),
        tuple(
            (
                r.a,
                r.b if r.b != r.a else "itself",
                str(r.k),
                fixed(r.jaccard, 3),
                f"[{fixed(r.low, 3)}, {fixed(r.high, 3)}]",
                f"[{fixed(r.bootstrap_low, 3)}, {fixed(r.bootstrap_high, 3)}]",
                fixed(r.chance, 3),
                str(r.pairs),
            )
            for r in rows
        ),
        "jaccard_matrix.csv",
    )
    return [Heading("Jaccard index of runs"), table]


def permutation_tests(material: Material) -> list[Block]:
    """Jaccard indices of seed-averaged rankings against permutations of layers, with what each test assumes."""
    rows = material.findings[OVERLAP_TESTS]
    if not rows:
        return []
    tests = dict.fromkeys((row.test, row.assumes) for row in rows)
    assumptions: tuple[Text, ...] = tuple(
        (
            Strong(test),
            f" assumes that {assumes}; for the layers of one model this is not so, and the test rejects too often.",
        )
        for test, assumes in tests
    )
    p = {(row.a, row.b, row.k, row.test): row.adjusted_p for row in rows}
    table = Table(
        "Jaccard index of seed-averaged rankings against permutations of layers: two-sided p, by Holm's method over "
        f"the {rows[0].tests} pairs and sizes; ceiling: the same of two seeds of one ranking; ratio: kappa between "
        "the rankings over kappa between seeds. Descriptive: the test to rely on is that of residuals",
        (
            *columns("ranking", "ranking", "#k", "#Jaccard", "#chance", "#ceiling", "#ratio to the ceiling"),
            *(Column(f"p, {test}", True) for test, _ in tests),
        ),
        tuple(
            (
                r.a,
                r.b,
                str(r.k),
                fixed(r.jaccard, 3),
                fixed(r.chance, 3),
                fixed(r.ceiling, 3),
                fixed(r.ratio, 2),
                *(p_value(p.get((r.a, r.b, r.k, test))) for test, _ in tests),
            )
            for r in {(row.a, row.b, row.k): row for row in rows}.values()
        ),
        "overlap_tests.csv",
    )
    said = Bullets(tuple((row.sentence,) for row in rows[:_MOST_SENTENCES]))
    return [Heading("Permutation tests of overlap"), Bullets(assumptions), table, Details("The same in words", (said,))]
