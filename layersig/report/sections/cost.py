"""What the run cost: by share of the layers tuned, by stage, and what came from the cache."""

from __future__ import annotations

from layersig.report.charts.bars import Bar, bars
from layersig.report.document import Details, Figure, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, plural, seconds, size
from layersig.report.sections.tuning_cost import shares
from layersig.report.svg import described, draw


def section(material: Material) -> Section | None:
    """None when the manifest names no stage."""
    sums = material.findings.cost_sums
    if not sums:
        return None
    unit, scale = ("minutes", 60.0) if max(row.seconds for row in sums) > 120 else ("seconds", 1.0)
    rows = [
        Bar(
            row.kind,
            row.seconds / scale,
            row.seconds_now / scale,
            f"{row.kind}: {seconds(row.seconds)} in {plural(row.stages, 'stage')}, {row.cached} from the cache",
        )
        for row in sums
    ]
    alt = "Time per kind of stage; the table gives the same numbers."
    figure = Figure(
        "costs",
        "Time per kind of stage",
        described(draw(bars(rows, unit), "costs"), alt),
        alt,
        "Blue: computed in this run. Grey: what stages taken from the cache cost when they were computed.",
        ("cost_sums.csv", "costs.csv"),
    )
    by_kind = Table(
        "Cost per kind of stage",
        columns("kind", "#stages", "#from cache", "#time", "#of it in this run", "#tokens", "#peak memory"),
        tuple(
            (
                row.kind,
                str(row.stages),
                str(row.cached),
                seconds(row.seconds),
                seconds(row.seconds_now),
                count(row.tokens),
                size(row.peak_memory),
            )
            for row in sums
        ),
        "cost_sums.csv",
    )
    every = Table(
        "Cost per stage",
        columns("stage", "kind", "status", "cached", "#time", "#tokens", "#peak memory"),
        tuple(
            (
                row.stage,
                row.kind,
                row.status,
                "yes" if row.cached else "no",
                seconds(row.seconds),
                count(row.tokens),
                size(row.peak_memory),
            )
            for row in material.findings.costs
        ),
        "costs.csv",
    )
    return Section(
        "cost", "Cost", (*shares(material), figure, by_kind, Details(f"Every stage ({len(every.rows)})", (every,)))
    )
