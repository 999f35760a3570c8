"""Cost of tuning by the share of the layers that is tuned."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.lines import Line, LinePanel, line_charts
from layersig.report.document import Block, Figure, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, number, percent, plural, range_of, seconds, size
from layersig.report.svg import described, draw
from layersig.topics.tuning_cost.rows import TIME_SAVED, TUNING_COSTS, TuningCostRow

_GIB = 2.0**30


def shares(material: Material) -> tuple[Block, ...]:
    """A figure where arms tune several shares of the layers, and the table; nothing where no training told its cost."""
    rows = material.findings[TUNING_COSTS]
    if not rows:
        return ()
    table = Table(
        "Cost by share of the layers tuned",
        columns(
            "arm",
            "data",
            "method",
            "#layers tuned",
            "#time per 1000 tokens",
            "#its SD over runs",
            "#time to all layers",
            "#weights",
            "#trained",
            "#gradients",
            "#optimizer",
            "#the last three to all layers",
            "#measured peak",
            "#peak to all layers",
        ),
        tuple(
            (
                row.arm,
                row.data or "",
                row.method,
                percent(row.share_of_layers),
                _time(row.seconds_per_token),
                _time(row.seconds_per_token_sd),
                fixed(row.time_ratio, 2),
                size(row.weights_memory),
                size(row.trained_memory),
                size(row.gradient_memory),
                size(row.optimizer_memory),
                fixed(row.state_ratio, 3),
                size(row.peak_memory),
                fixed(row.peak_ratio, 2),
            )
            for row in rows
        ),
        "tuning_costs.csv",
    )
    return (*_figure(rows), table)


def time_saved(material: Material) -> tuple[Table, ...]:
    """What arms save of the time of all layers, with their rankings; nothing where no training told its time."""
    rows = material.findings[TIME_SAVED]
    if not rows:
        return ()
    caption = (
        "Time saved next to training all layers: the same batches and the same engine. Allowed: the share of the "
        "multiplications that the training leaves out, since gradients go back to the lowest block only"
    )
    heads = columns(
        "arm",
        "data",
        "#seeds",
        "#lowest block",
        "#training",
        "#ranking",
        "#all layers",
        "#saved in training",
        "#allowed by arithmetic",
        "#saved with the ranking",
        "#interval over seeds",
    )
    body = tuple(
        (
            row.arm,
            row.data or "",
            str(row.runs),
            "\u2013" if row.lowest_block is None else str(row.lowest_block),
            seconds(row.training_seconds),
            seconds(row.ranking_seconds),
            seconds(row.all_layers_seconds),
            percent(row.saved_in_training),
            "\u2013" if row.bound is None else percent(row.bound),
            percent(row.saved),
            range_of(row.saved_low, row.saved_high, percent),
        )
        for row in rows
    )
    return (Table(caption, heads, body, "time_saved.csv"),)


def _time(seconds_per_token: float | None) -> str:
    return "\u2013" if seconds_per_token is None else f"{number(1000 * seconds_per_token)} s"


def _figure(rows: Sequence[TuningCostRow]) -> tuple[Figure, ...]:
    known = [row for row in rows if row.seconds_per_token is not None and row.peak_memory is not None]
    if len({row.share_of_layers for row in known}) < 2:
        return ()
    several = len({row.data for row in known}) > 1
    time, memory = [], []
    for data, method in dict.fromkeys((row.data, row.method) for row in known):
        own = sorted(
            (row for row in known if (row.data, row.method) == (data, method)), key=lambda row: row.share_of_layers
        )
        name = f"{method}, {data}" if several else method
        time.append(Line(name, tuple((100 * r.share_of_layers, 1000 * (r.seconds_per_token or 0.0)) for r in own)))
        held = [(r, r.weights_memory + r.trained_memory + r.gradient_memory + r.optimizer_memory) for r in own]
        memory.append(
            Line(f"{name}: measured peak", tuple((100 * r.share_of_layers, (r.peak_memory or 0) / _GIB) for r in own))
        )
        memory.append(
            Line(
                f"{name}: weights, trained, gradients, optimizer",
                tuple((100 * r.share_of_layers, held_ / _GIB) for r, held_ in held),
                dashed=True,
            )
        )
    panels = [
        LinePanel("Time", "layers tuned, %", "seconds per 1000 tokens", tuple(time)),
        LinePanel("Memory", "layers tuned, %", "GiB", tuple(memory)),
    ]
    alt = f"Time and memory of {plural(len(known), 'training')} over the share of layers tuned; the table gives both."
    return (
        Figure(
            "tuning_costs",
            "Cost by share of the layers tuned",
            described(draw(line_charts(panels), "tuning_costs"), alt),
            alt,
            "Time per token and measured peak are means over seeds. What weights, trained values, gradients and "
            "optimizer take follows from their shapes; the peak adds activations and, on a CPU, the whole process.",
            ("tuning_costs.csv",),
        ),
    )
