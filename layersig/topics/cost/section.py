"""What the run cost: by share of the layers tuned, by stage, and what came from the cache."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.bars import Bar, bars
from layersig.report.document import Block, Callout, Code, Details, Figure, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, fixed, number, plural, seconds, size
from layersig.report.svg import described, draw
from layersig.topics.cost.planned import EVERY_KIND
from layersig.topics.cost.rows import COMPUTE, COST_SUMS, COSTS, INFERENCE, PLANNED_COSTS, PlannedCostRow
from layersig.topics.tuning_cost.section import shares, time_saved


def section(material: Material) -> Section | None:
    """None when the manifest names no stage."""
    sums = material.findings[COST_SUMS]
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
            for row in material.findings[COSTS]
        ),
        "costs.csv",
    )
    stages = Details(f"Every stage ({len(every.rows)})", (every,))
    blocks = (
        _total(material),
        *_planned(material),
        *_halved(material),
        *time_saved(material),
        *shares(material),
        *_speed(material),
        figure,
        by_kind,
        stages,
    )
    return Section("cost", "Cost", blocks)


def _total(material: Material) -> Table:
    return Table(
        "In total, stages from the cache included; energy is that of the whole processor and GPU while a stage ran, "
        "where "
        "the machine counts it",
        columns("device", "#stages", "#hours", "#of them in this run", "#processor", "#GPU", "#stages measured"),
        tuple(
            (
                row.device if row.threads is None else f"{row.device}, {plural(row.threads, 'thread')}",
                count(row.stages),
                number(row.hours),
                number(row.hours_now),
                _energy(row.cpu_energy),
                _energy(row.gpu_energy),
                count(row.measured),
            )
            for row in material.findings[COMPUTE]
        ),
        "compute.csv",
    )


def _planned(material: Material) -> tuple[Block, ...]:
    rows = material.findings[PLANNED_COSTS]
    if not rows:
        return ()
    caption = "Planned and measured cost of the stages that were planned before they were computed"
    origin = f"Speed behind the planned times: {material.manifest['planned_costs']['origin']}"
    of_all = [row for row in rows if row.kind == EVERY_KIND]
    by_kind = [row for row in rows if row.kind != EVERY_KIND]
    return (
        _planned_table(caption, of_all),
        Details("Planned and measured cost per kind of stage", (_planned_table(origin, by_kind),)),
    )


def _planned_table(caption: str, rows: Sequence[PlannedCostRow]) -> Table:
    shown = {"time": seconds, "peak memory": size, "disk": size, "verdicts": count}
    body = tuple(
        (
            row.kind,
            row.quantity,
            count(row.stages),
            count(row.others),
            f"{'at most ' if row.at_most else ''}{shown[row.quantity](row.planned)}",
            shown[row.quantity](row.measured),
            fixed(row.ratio, 2),
        )
        for row in rows
    )
    heads = columns("kind", "cost", "#stages", "#others", "#planned", "#measured", "#measured / planned")
    return Table(caption, heads, body, "planned_costs.csv")


def _halved(material: Material) -> tuple[Callout, ...]:
    found = [row for row in material.findings[COSTS] if row.halved_to is not None]
    if not found:
        return ()
    title = "Memory ran out, and smaller pieces were run; results differ by rounding only"
    stages = tuple((Code(row.stage), f": at most {plural(row.halved_to or 0, 'token')} at once") for row in found)
    return (Callout("note", title, stages),)


def _speed(material: Material) -> tuple[Table, ...]:
    rows = material.findings[INFERENCE]
    if not rows:
        return ()
    caption = "Speed of evaluation: measured once a run, while the machine may have been doing other work"
    heads = columns("arm", "#evaluations", "#tokens", "#tokens per second", "#over the untouched model")
    body = tuple(
        (row.arm, count(row.runs), count(row.tokens), number(row.tokens_per_second), fixed(row.ratio, 2))
        for row in rows
    )
    return (Table(caption, heads, body, "inference.csv"),)


def _energy(joules: float | None) -> str:
    return "not measured" if joules is None else f"{number(joules / 3.6e6)} kWh"
