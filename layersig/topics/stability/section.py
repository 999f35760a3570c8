"""What a ranking is worth: noise ceiling, sharing, single layers, variance, estimators, checkpoints, overlap."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.charts.lines import Line, LinePanel, line_charts
from layersig.report.document import (
    Block,
    Bullets,
    Figure,
    Heading,
    Section,
    Table,
    columns,
)
from layersig.report.material import Material
from layersig.report.numbers import fixed, level, number, percent, plural
from layersig.report.svg import described, draw
from layersig.topics.ceilings.section import ceilings
from layersig.topics.stability.estimators_section import estimators
from layersig.topics.stability.overlap_section import beyond_type_and_depth, jaccard_of_runs, permutation_tests
from layersig.topics.stability.rows import (
    CHECKPOINTS,
    COMPONENTS,
    SHARING,
    STABILITY,
    StabilityRow,
)
from layersig.topics.stability.sharing_section import sharing


def section(material: Material) -> Section | None:
    """None where no scorer looks at the model."""
    parts = (
        ceilings,
        _noise,
        sharing,
        _components,
        estimators,
        _checkpoints,
        beyond_type_and_depth,
        jaccard_of_runs,
        permutation_tests,
    )
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
        return f"Whether {runs} agree on single layers cannot be decided with fewer than three: {figures}."
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


def _estimated(rows: Sequence[StabilityRow]) -> tuple[ForestRow, ...]:
    estimated = []
    for row in rows:
        label = f"{fixed(row.value, 2)} [{fixed(row.low, 2)}, {fixed(row.high, 2)}]"
        where = row.data or "all data sets"
        tip = f"{row.scorer}, {row.quantity}, {where}\n{label}\n{plural(row.runs, 'run')}, left out: {row.left_out}"
        name = f"{row.scorer}: {row.quantity}"
        estimated.append(ForestRow(name, where, row.value, row.low, row.high, (), label, tip))
    return tuple(estimated)


def _components(material: Material) -> list[Block]:
    rows = material.findings[COMPONENTS]
    if not rows:
        return []
    table = Table(
        "Where the variance of scores comes from, every run scaled to variance 1; no interval below 3 degrees of "
        "freedom. Type and depth are what all runs have in common: noise that moves whole blocks or types is "
        "subtracted. Sample of rows takes both halves of every data set (`half` in `[[data]]`). Separating scoring "
        "from run needs the same scorer a second time with another `stream`; without it, scoring is counted in run",
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
