"""What a ranking is worth: noise ceiling, sharing, single layers, variance, estimators, checkpoints, overlap."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.findings.rows.layers import RANKINGS
from layersig.report.charts.forest import Estimated, Panel, forest
from layersig.report.charts.lines import Line, LinePanel, line_charts
from layersig.report.charts.matrix import Entry, Matrix, matrices
from layersig.report.document import (
    Block,
    Bullets,
    Column,
    Details,
    Figure,
    Heading,
    Paragraph,
    Section,
    Strong,
    Table,
    Text,
    columns,
)
from layersig.report.material import Material
from layersig.report.numbers import fixed, level, number, p_value, percent, plural
from layersig.report.svg import described, draw
from layersig.topics.ceilings.section import ceilings
from layersig.topics.stability.rows import (
    CHECKPOINTS,
    COMPONENTS,
    ESTIMATORS,
    JACCARD_MATRIX,
    OVERLAP_TESTS,
    RESIDUAL_TESTS,
    SHARING,
    STABILITY,
    EstimatorRow,
    StabilityRow,
)
from layersig.topics.stability.sharing_section import sharing

_MOST_SENTENCES = 24


def section(material: Material) -> Section | None:
    """None where no scorer looks at the model."""
    parts = (ceilings, _noise, sharing, _components, _estimators, _checkpoints, _beyond, _jaccard, _relabelled)
    blocks = tuple(block for part in parts for block in part(material))
    return Section("stability", "What a ranking is worth", blocks) if blocks else None


def _noise(material: Material) -> list[Block]:
    rows = material.findings[STABILITY]
    if not rows:
        return []
    panels = []
    for k in material.findings.sizes:
        for ratio in (False, True):
            kinds = ("ratio",) if ratio else ("rescored", "within", "other half", "between", "identity gain")
            chosen = [row for row in rows if row.k == k and row.quantity in kinds]
            if chosen:
                margins = [row.margin for row in material.findings[SHARING]]
                panels.append(_panel(k, chosen, 1 - margins[0] if ratio and margins else None))
    singles = [row for row in rows if row.quantity == "residual agreement" and row.k == rows[0].k]
    panels.append(_singles(singles))
    alt = (
        "Forest plots of agreement between seeds, between data sets, their ratio and the identity gain, per size, and "
        "of the agreement between seeds on single layers."
    )
    figure = Figure(
        "stability",
        "Noise ceiling, agreement between data sets, single layers",
        described(draw(forest(panels), "stability"), alt),
        alt,
        f"Diamond: estimate; bar: {level(rows[0].level)} jackknife interval with t, leaving out one run (or one seed "
        "of all data sets) at a time; a run is never drawn twice, since it would meet itself. Within: other seeds of "
        "one data set, the noise ceiling. Rescored: one training, other random draws of the scorer. Other half: "
        "other seeds and other rows of one data set. Between: other data sets and other seeds. Identity gain: above "
        "0, a run's own scores predict another run better than their smooth fit of type and depth; below 0, worse, "
        "because smoothing takes noise away, which says nothing of whether single layers are known. That is what the "
        "residual agreement says: the correlation between runs of what the fit leaves over, 0 where runs agree on "
        "type and smooth depth alone.",
        ("stability.csv",),
    )
    return [Heading("Noise and single layers"), figure, Bullets(tuple((_known(row),) for row in singles))]


def _known(row: StabilityRow) -> str:
    """What the residual agreement of one ranking shows."""
    figures = (
        f"residual agreement {fixed(row.value, 2)}, one-sided {level(row.level)} lower bound {fixed(row.lower, 2)}"
    )
    runs = f"{plural(row.runs, 'run')} of {row.scorer} on {row.data}"
    if row.lower is None:
        return f"Whether {runs} agree on single layers cannot be told with fewer than three: {figures}."
    if row.lower > 0:
        return f"The {runs} agree on single layers beyond module type and smooth depth: {figures}."
    return f"The {runs} are not shown to agree on single layers beyond module type and smooth depth: {figures}."


def _panel(k: int, rows: Sequence[StabilityRow], margin: float | None) -> Panel:
    share = f"top {k} of {rows[0].of} ({percent(k / rows[0].of)})"
    if rows[0].quantity == "ratio":
        return Panel(f"Ratio between / within, {share}", "ratio", _estimated(rows), margin, 1.0)
    return Panel(f"Agreement, {share}", "kappa (0 = chance, 1 = identical)", _estimated(rows))


def _singles(rows: Sequence[StabilityRow]) -> Panel:
    return Panel("Single layers, all sizes", "correlation of residuals between runs", _estimated(rows))


def _estimated(rows: Sequence[StabilityRow]) -> tuple[Estimated, ...]:
    estimated = []
    for row in rows:
        label = f"{fixed(row.value, 2)} [{fixed(row.low, 2)}, {fixed(row.high, 2)}]"
        where = row.data or "all data sets"
        tip = f"{row.scorer}, {row.quantity}, {where}\n{label}\n{plural(row.runs, 'run')}, left out: {row.left_out}"
        name = f"{row.scorer}: {row.quantity}"
        estimated.append(Estimated(name, where, row.value, row.low, row.high, (), label, tip))
    return tuple(estimated)


def _components(material: Material) -> list[Block]:
    rows = material.findings[COMPONENTS]
    if not rows:
        return []
    table = Table(
        "Where the variance of scores comes from, every run scaled to variance 1; no interval below 3 degrees of "
        "freedom. Type and depth are what all runs have in common: noise that moves whole blocks or types is taken "
        "off. Sample of rows takes both halves of every data set (`half` in `[[data]]`); scoring takes a scorer that "
        "is there again with another `stream`, and is part of run without one",
        columns("scorer", "component", "#share", "#variance", f"#{level(rows[0].level)} interval", "#df"),
        tuple(
            (
                r.scorer,
                r.component,
                percent(r.share, 1),
                number(r.variance, 3),
                "\u2013" if r.low is None else f"[{number(r.low, 2)}, {number(r.high, 2)}]",
                str(r.df),
            )
            for r in rows
        ),
        "components.csv",
    )
    return [Heading("Components of variance"), table]


def _estimators(material: Material) -> list[Block]:
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
                _set(r.shape, r.low, r.high),
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
                tip += f"\ncorrected for noise {fixed(row.corrected, 2)} {_set(row.shape, row.low, row.high)}"
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


def _set(shape: str | None, low: float | None, high: float | None) -> str:
    if shape is None:
        return "\u2013"
    return f"[{fixed(low, 2)}, {fixed(high, 2)}]" if shape == "interval" else shape


def _checkpoints(material: Material) -> list[Block]:
    rows = material.findings[CHECKPOINTS]
    if not rows:
        return []
    panels = []
    for k in dict.fromkeys(row.k for row in rows):
        lines = []
        for kind, data in dict.fromkeys((row.kind, row.data) for row in rows if row.k == k):
            own = sorted((r for r in rows if (r.k, r.kind, r.data) == (k, kind, data)), key=lambda r: r.checkpoint)
            points = [(r.checkpoint, r.kappa) for r in own] + [(own[0].last, 1.0)]
            lines.append(Line(f"{kind} on {data}", tuple(points)))
        panels.append(
            LinePanel(f"Top {k}", "share of the reference training", "kappa with the last checkpoint", tuple(lines))
        )
    alt = "Agreement of the ranking at each checkpoint with the ranking at the last checkpoint."
    figure = Figure(
        "checkpoints",
        "Stability over checkpoints",
        described(draw(line_charts(panels), "checkpoints"), alt),
        alt,
        "Kappa of the top k at a share of the reference training with the top k at its last checkpoint, mean "
        "over seeds.",
        ("checkpoints.csv",),
    )
    return [Heading("Stability over checkpoints"), figure]


def _beyond(material: Material) -> list[Block]:
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


def _jaccard(material: Material) -> list[Block]:
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


def _relabelled(material: Material) -> list[Block]:
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
