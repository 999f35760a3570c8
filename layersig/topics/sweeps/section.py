"""Sweeps: outcomes over a quantity that varies, beside controls at every point, and where the optimum may be."""

from __future__ import annotations

from layersig.findings.outcomes import Measure
from layersig.findings.rows.sweeps import SWEEP_POINTS, SWEEPS, SweepPointRow, SweepRow
from layersig.report.charts.curves import Curve, CurvePanel, CurvePoint, curve_charts
from layersig.report.document import Block, Bullets, Details, Figure, Inline, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import difference_of, interval_of, level, number, p_value, unit_of, value_of
from layersig.report.svg import described, draw

_MOST_PANELS = 6
_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None unless the recipe varies a quantity and some of it was measured."""
    rows = material.findings[SWEEPS]
    if not rows:
        return None
    about = Paragraph(
        (
            "The trend is one linear contrast over the points in their order: each step to the next counts the same, "
            "however far it is. The optimum is given as a set: a point leaves it where another is better by a paired "
            "test, corrected for the number of others, so that the set holds the best of the points with the stated "
            "confidence; it covers these points, not values between them. All layers, or the untouched model "
            "where blocks are removed, are the point at the end.",
        )
    )
    shown = sorted((row for row in rows if row.primary), key=lambda row: (not row.outcome, row.against is not None))
    sentences = Bullets(tuple((row.sentence,) for row in shown))
    return Section(
        "sweeps", "What varies with what", (about, *_figures(material), sentences, _curves(rows), _points(material))
    )


def _figures(material: Material) -> list[Block]:
    rows = [row for row in material.findings[SWEEPS] if row.primary and row.against is None]
    rows.sort(key=lambda row: not row.outcome)
    panels = [panel for row in rows[:_MOST_PANELS] if (panel := _panel(material, row)).curves]
    if not panels:
        return []
    alt = f"Curves over what varies, {len(panels)} panels; every number is in sweep_points.csv."
    more = f" The first {_MOST_PANELS} of {len(rows)} curves." if len(rows) > _MOST_PANELS else ""
    caption = (
        "Differences from the untouched model on the same items. A band holds for all points of its curve together "
        f"({level(rows[0].level)}); filled points are not shown to be worse than the best of their curve.{more}"
    )
    svg = described(draw(curve_charts(panels), "sweeps"), alt)
    return [Figure("sweeps", "Outcomes over what varies", svg, alt, caption, ("sweep_points.csv", "sweeps.csv"))]


def _panel(material: Material, row: SweepRow) -> CurvePanel:
    measure = Measure(row.task, row.metric, row.higher_is_better)
    scale = 100.0 if measure.is_share else 1.0
    own = [point for point in _points_of(material, row) if point.difference is not None]
    curves = tuple(
        Curve(
            "arm" if series == "arm" else f"{series}s",
            tuple(_point(measure, scale, point) for point in own if point.series == series),
        )
        for series in dict.fromkeys(point.series for point in own)
    )
    place = f"trained on {row.data}" if row.data is not None else str(row.arm)
    title = f"{row.metric} of {row.task} over {row.sweep}, {place}"
    return CurvePanel(title, row.quantity, f"minus untouched model, {unit_of(measure)}", curves)


def _points_of(material: Material, row: SweepRow) -> list[SweepPointRow]:
    """The points of a curve and of its controls."""
    place = (row.sweep, row.task, row.metric, row.arm)
    return [
        point
        for point in material.findings[SWEEP_POINTS]
        if (point.sweep, point.task, point.metric, point.curve) == place and row.data in (None, point.data)
    ]


def _point(measure: Measure, scale: float, point: SweepPointRow) -> CurvePoint:
    return CurvePoint(
        point.x,
        scale * (point.difference or 0.0),
        None if point.low is None else scale * point.low,
        None if point.high is None else scale * point.high,
        bool(point.in_best_set),
        f"{point.arm} at {number(point.x)}: {value_of(measure, point.value)} "
        f"({difference_of(measure, point.difference)})",
    )


def _curves(rows: tuple[SweepRow, ...]) -> Table:
    heads = columns(
        "sweep",
        "quantity",
        "arm or data",
        "task",
        "metric",
        "difference from",
        "#points",
        "#best at",
        "#optimum in",
        "#change a step",
        "#interval",
        "#p",
        "#p, corrected",
        "#S",
        "#n",
    )
    caption = "Trend and optimum of every curve"
    return Table(caption, heads, tuple(map(_line, rows)), "sweeps.csv")


def _line(row: SweepRow) -> tuple[Inline, ...]:
    measure = Measure(row.task, row.metric, row.higher_is_better)
    inside = _NONE
    if row.best_low is not None and row.best_high is not None:
        inside = f"{number(row.best_low)} to {number(row.best_high)} ({row.best_points} of {row.points})"
    return (
        row.sweep,
        row.quantity,
        row.arm or row.data or _NONE,
        row.task,
        row.metric,
        row.against or _NONE,
        str(row.points),
        number(row.best) if row.best is not None else _NONE,
        inside,
        f"{difference_of(measure, row.slope)} {unit_of(measure)}" if row.slope is not None else _NONE,
        interval_of(measure, row.low, row.high),
        p_value(row.p),
        p_value(row.adjusted_p),
        str(row.seeds),
        str(row.n),
    )


def _points(material: Material) -> Block:
    heads = columns(
        "sweep",
        "#x",
        "series",
        "arm",
        "data",
        "task",
        "metric",
        "#value",
        "#minus untouched",
        "#band",
        "may be the best",
    )
    body = tuple(
        (
            row.sweep,
            number(row.x),
            row.series,
            row.arm,
            row.data,
            row.task,
            row.metric,
            value_of(Measure(row.task, row.metric), row.value),
            difference_of(Measure(row.task, row.metric), row.difference),
            _band(row),
            _NONE if row.in_best_set is None else "yes" if row.in_best_set else "no",
        )
        for row in material.findings[SWEEP_POINTS]
    )
    return Details("Every point", (Table("Points with their simultaneous bands", heads, body, "sweep_points.csv"),))


def _band(row: SweepPointRow) -> str:
    measure = Measure(row.task, row.metric)
    return interval_of(measure, row.low, row.high)
