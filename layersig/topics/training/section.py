"""Loss curves of every training, their course, and what a search tried."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.charts.lines import Line, LinePanel, line_charts
from layersig.report.document import Block, Details, Figure, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, fixed, number, plural
from layersig.report.svg import described, draw
from layersig.topics.milestones.section import course
from layersig.topics.training.rows import LOSSES, LossRow
from layersig.topics.tuning_cost.rows import TRIALS

_MOST_ROWS = 12
_TITLES = {"arm": "Fine-tuning", "scorer": "Training of a scorer"}


def section(material: Material) -> Section | None:
    """None when no training left a loss."""
    rows = material.findings[LOSSES]
    if not rows:
        return None
    per_pair = any(measure.kind == "preference_loss" for measure in material.primary_measures)
    unit = "nats" if per_pair else "nats per token"
    panels = []
    for training, title in _TITLES.items():
        for data in dict.fromkeys(row.data for row in rows if row.training == training):
            chosen = [row for row in rows if (row.training, row.data) == (training, data)]
            panels.append(LinePanel(f"{title} on {data}", "optimizer step", f"loss, {unit}", _lines(chosen)))
    cells = list(dict.fromkeys(row.cell for row in rows))
    alt = f"Training loss over optimizer steps of {plural(len(cells), 'training')}; the table gives where each ended."
    figure = Figure(
        "losses",
        "Training loss",
        described(draw(line_charts(panels), "losses"), alt),
        alt,
        f"{'Loss' if per_pair else 'Loss per target token'} on the training batches, averaged over stretches of "
        "steps. Thick: mean over seeds; thin: "
        "single seeds. What a scorer trains (the mask scores of ILA) has an objective of its own, hence its own panel.",
        ("losses.csv",),
    )
    ends = []
    for cell in cells:
        curve = [row for row in rows if row.cell == cell]
        ends.append((cell, str(curve[-1].step), fixed(curve[0].loss, 4), fixed(curve[-1].loss, 4)))
    heads = columns("training", "#steps", "#first stretch", "#last stretch")
    table = Table("Where each training began and ended", heads, tuple(ends), "losses.csv")
    folded = Details(f"Every training ({len(ends)})", (table,)) if len(ends) > _MOST_ROWS else table
    blocks: tuple[Block, ...] = (figure, folded, *course(material), *_search(material))
    return Section("training", "Training", blocks)


def _search(material: Material) -> tuple[Block, ...]:
    """What every arm tried, where the recipe asked for a search."""
    rows = material.findings[TRIALS]
    if not rows:
        return ()
    heads = columns("arm", "data", "#seed", "#learning rate", "#epochs", "#steps", "#validation loss", "outcome")
    cells = tuple(
        (
            row.arm,
            row.data or "",
            str(row.seed),
            number(row.learning_rate),
            number(row.epochs),
            count(row.steps),
            fixed(row.loss, 4),
            "chosen" if row.chosen else (row.error or ""),
        )
        for row in rows
    )
    sentence = (
        "Every arm had the same trials. They were compared by the loss on conversations of the training split that "
        "none of them trained on, and the best one is the arm; nothing that arms are evaluated on was looked at."
    )
    table = Table("Trials of learning rates and lengths", heads, cells, "trials.csv")
    folded = Details(f"Every trial ({len(cells)})", (table,)) if len(cells) > _MOST_ROWS else table
    return (Paragraph((sentence,)), folded)


def _lines(rows: Sequence[LossRow]) -> tuple[Line, ...]:
    lines = []
    for name in dict.fromkeys(row.name for row in rows):
        curves = {
            cell: [(float(row.step), row.loss) for row in rows if row.cell == cell]
            for cell in dict.fromkeys(row.cell for row in rows if row.name == name)
        }
        if len(curves) > 1:
            lines += [Line(name, tuple(points), faint=True, tip=cell) for cell, points in curves.items()]
        by_step: dict[float, list[float]] = {}
        for points in curves.values():
            for step, loss in points:
                by_step.setdefault(step, []).append(loss)
        mean = tuple((step, sum(losses) / len(losses)) for step, losses in sorted(by_step.items()))
        lines.append(Line(name, mean, tip=f"{name}, mean of {plural(len(curves), 'training')}"))
    return tuple(lines)
