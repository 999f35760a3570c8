"""What a ranking is worth: noise ceiling, sharing, identity, variance, estimators, checkpoints, tests of overlap."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.findings.rows import EstimatorRow, MatrixRow, StabilityRow
from layersig.report.charts.forest import Estimated, Panel, forest
from layersig.report.charts.lines import Line, LinePanel, line_charts
from layersig.report.charts.matrix import Entry, Matrix, matrices
from layersig.report.document import Block, Bullets, Column, Figure, Heading, Section, Strong, Table, Text, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, level, number, p_value, percent, plural
from layersig.report.svg import described, draw

_SHARING_MARGIN = 0.1
_BOOTSTRAP = (
    Strong("bootstrap over runs"),
    " assumes that each ranking has many runs, independent of those of the other; with a few seeds that both share "
    "this is not so, and the interval is usually too short. None is drawn for a ranking with itself, whose runs would "
    "meet themselves. The jackknife intervals of the noise ceiling hold instead: they leave runs out.",
)


def section(material: Material) -> Section | None:
    """None where no scorer has two seeds, two checkpoints or a scorer beside it."""
    parts = (_noise, _sharing, _components, _estimators, _checkpoints, _tests)
    blocks = tuple(block for part in parts for block in part(material))
    return Section("stability", "What a ranking is worth", blocks) if blocks else None


def _noise(material: Material) -> list[Block]:
    rows = material.findings.stability
    if not rows:
        return []
    panels = []
    for k in material.findings.sizes:
        for ratio in (False, True):
            chosen = [row for row in rows if row.k == k and (row.quantity == "ratio") is ratio]
            if chosen:
                panels.append(_panel(k, chosen, ratio))
    alt = "Forest plots of agreement between seeds, between data sets, their ratio and the identity gain, per size."
    figure = Figure(
        "stability",
        "Noise ceiling, agreement between data sets, identity gain",
        described(draw(forest(panels), "stability"), alt),
        alt,
        f"Diamond: estimate; bar: {level(rows[0].level)} jackknife interval with t, leaving out one run (or one "
        "seed of "
        "all data sets) at a time; a run is never drawn twice, since it would meet itself. Within: other seeds "
        "of one data "
        "set, the noise ceiling. Between: other data sets and other seeds. Identity gain: what the scores of "
        "single layers "
        "predict of another run beyond a smooth fit of type and depth; near 0 the ranking says nothing about "
        "single layers.",
        ("stability.csv",),
    )
    return [Heading("Noise and identity"), figure]


def _panel(k: int, rows: Sequence[StabilityRow], ratio: bool) -> Panel:
    estimated = []
    for row in rows:
        label = f"{fixed(row.value, 2)} [{fixed(row.low, 2)}, {fixed(row.high, 2)}]"
        where = row.data or "all data sets"
        tip = f"{row.scorer}, {row.quantity}, {where}\n{label}\n{plural(row.runs, 'run')}, left out: {row.left_out}"
        name = f"{row.scorer}: {row.quantity}"
        estimated.append(Estimated(name, where, row.value, row.low, row.high, (), label, tip))
    share = f"top {k} of {rows[0].of} ({percent(k / rows[0].of)})"
    if ratio:
        return Panel(f"Ratio between / within, {share}", "ratio", tuple(estimated), _SHARING_MARGIN, 1.0)
    return Panel(f"Agreement, {share}", "kappa (0 = chance, 1 = identical)", tuple(estimated))


def _sharing(material: Material) -> list[Block]:
    rows = material.findings.sharing
    if not rows:
        return []
    table = Table(
        "Do the data sets share layers, and do they differ? Two questions: a failure to show a difference is not "
        "sharing",
        columns(
            "scorer",
            "#k",
            "#ratio",
            "#one-sided lower bound",
            "#margin",
            "verdict on sharing",
            "#S",
            "#p that data sets differ",
        ),
        tuple(
            (
                r.scorer,
                str(r.k),
                fixed(r.ratio, 2),
                fixed(r.lower, 2),
                fixed(r.margin, 2),
                r.verdict,
                str(r.seeds),
                p_value(r.p_different),
            )
            for r in rows
        ),
        "sharing.csv",
    )
    return [Heading("Do data sets share layers?"), Bullets(tuple((row.sentence,) for row in rows)), table]


def _components(material: Material) -> list[Block]:
    rows = material.findings.components
    if not rows:
        return []
    table = Table(
        "Where the variance of scores comes from, every run scaled to variance 1; no interval below 3 degrees of "
        "freedom",
        columns("scorer", "component", "#share", "#variance", "#95 % interval", "#df"),
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
    rows = material.findings.estimators
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
    rows = material.findings.checkpoints
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


def _tests(material: Material) -> list[Block]:
    rows = material.findings.overlap_tests
    if not rows:
        return []
    tests = list(dict.fromkeys((row.test, row.assumes, row.holds) for row in rows))
    assumptions: tuple[Text, ...] = tuple(
        (
            Strong(test),
            f" assumes that {assumes}; for the layers of one model this is {'roughly so' if holds else 'not so'}",
            "." if holds else ", and the test rejects too often.",
        )
        for test, assumes, holds in tests
    )
    drawn = {(row.a, row.b, row.k): row for row in material.findings.jaccard_matrix if row.low is not None}
    if drawn:
        assumptions += (_BOOTSTRAP,)
    p = {(row.a, row.b, row.k, row.test): row.p for row in rows}
    table = Table(
        "Do two rankings overlap more than chance? One-sided p of the Jaccard index of the seed-averaged rankings, and "
        "the mean Jaccard index of their runs with its bootstrap interval (jaccard_matrix.csv)",
        (
            *columns("ranking", "ranking", "#k", "#Jaccard"),
            *(Column(f"p, {test}", True) for test, _, _ in tests),
            *columns("#mean of runs", "#bootstrap interval"),
        ),
        tuple(
            (
                a,
                b,
                str(k),
                fixed(jaccard, 3),
                *(p_value(p.get((a, b, k, test))) for test, _, _ in tests),
                *_mean_of_runs(drawn.get((a, b, k))),
            )
            for a, b, k, jaccard in dict.fromkeys((row.a, row.b, row.k, row.jaccard) for row in rows)
        ),
        "overlap_tests.csv",
    )
    return [Heading("Tests and bootstrap of overlap"), Bullets(assumptions), table]


def _mean_of_runs(row: MatrixRow | None) -> tuple[str, str]:
    if row is None:
        return "\u2013", "\u2013"
    return fixed(row.jaccard, 3), f"[{fixed(row.low, 3)}, {fixed(row.high, 3)}] ({level(row.level)})"
