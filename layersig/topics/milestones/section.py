"""The course of trainings: their length, the stability of the loss, and how early the ranking is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.analysis.sentences import status_of
from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.document import Block, Bullets, Details, Figure, Heading, Paragraph, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, level, number, p_value, percent, plural, seconds
from layersig.report.svg import described, draw
from layersig.topics.milestones.rows import MILESTONES, SUCCESSIVE, TRAININGS, MilestoneRow, SuccessiveRow, TrainingRow

_MOST_ROWS = 12


def course(material: Material) -> tuple[Block, ...]:
    """Everything about the course of trainings; nothing where none left a log."""
    findings = material.findings
    return (
        *_lengths(findings[TRAININGS]),
        *_successive(findings[SUCCESSIVE]),
        *_milestones(findings[SUCCESSIVE], findings[MILESTONES]),
    )


def _lengths(rows: Sequence[TrainingRow]) -> list[Block]:
    if not rows:
        return []
    table = Table(
        f"Length of every training, and epsilon-stability of its loss: the relative change between the means of two "
        f"neighbouring windows of {rows[0].window} steps stays below {number(rows[0].epsilon)}, for a whole window",
        columns("training", "data", "#seed", "#steps", "#planned", "#change", "#its noise", "epsilon-stability"),
        tuple(
            (
                row.arm,
                row.data or "\u2013",
                "\u2013" if row.seed is None else str(row.seed),
                str(row.steps),
                str(row.planned_steps),
                number(row.change),
                number(row.noise),
                row.verdict,
            )
            for row in rows
        ),
        "trainings.csv",
    )
    folded: Block = Details(f"Every training ({len(rows)})", (table,)) if len(rows) > _MOST_ROWS else table
    return [Heading("Length and stability of the loss"), *_saved(rows), folded]


def _saved(rows: Sequence[TrainingRow]) -> list[Block]:
    """What was not trained because nothing reads it, and what had been trained before."""
    said = []
    for rule in (row for row in rows if row.rank_rule is not None):
        said.append(f"{rule.arm} on {rule.data}, seed {rule.seed}: {rule.rank_rule}.")
    short = [row for row in rows if row.steps < row.planned_steps]
    if short:
        steps, planned = sum(row.steps for row in short), sum(row.planned_steps for row in short)
        why = "where the ranking was stable" if short[0].rank_rule else "since nothing reads the rest"
        saved = sum(row.seconds_saved or 0.0 for row in short)
        said.append(
            f"{plural(len(short), 'training')} ended after {steps} of {planned} planned steps "
            f"({percent(steps / planned)}), {why}: about {seconds(saved)} saved, at the time that their steps took. Up "
            "to there they are the same as trainings of the full length."
        )
    before = [row for row in rows if row.continued_from]
    if before:
        steps = sum(row.continued_from for row in before)
        spent = sum(row.continued_from * (row.seconds_per_step or 0.0) for row in before)
        said.append(
            f"{steps} steps of {plural(len(before), 'training')} had been done by equal trainings of another length "
            f"and were not repeated: about {seconds(spent)}."
        )
    return [Paragraph((sentence,)) for sentence in said]


def _successive(rows: Sequence[SuccessiveRow]) -> list[Block]:
    if not rows:
        return []
    table = Table(
        f"Stability of the ranking: agreement between successive milestones of the same training, mean over seeds with "
        f"its {level(rows[0].level)} t interval (from three seeds on). Successive rankings share the noise of their "
        "training, so this does not show that another training would rank alike",
        columns("scorer", "data", "#from", "#to", "#k", "#kappa [interval]", "#Kendall's tau", "#seeds"),
        tuple(
            (
                row.kind,
                row.data or "\u2013",
                percent(row.checkpoint),
                percent(row.next),
                str(row.k),
                fixed(row.kappa, 2) + _interval(row.low, row.high),
                fixed(row.tau, 2),
                str(row.runs),
            )
            for row in rows
        ),
        "successive.csv",
    )
    return [Heading("Stability of the ranking"), table]


def _milestones(successive: Sequence[SuccessiveRow], rows: Sequence[MilestoneRow]) -> list[Block]:
    heading = Heading("How early does the ranking settle?")
    if not rows:
        alone = Paragraph(
            (
                "With one seed it is not known how well full trainings agree with each other, so there is no ceiling "
                "that a milestone could reach; the test takes five seeds.",
            )
        )
        return [heading, alone] if successive else []
    required = rows[0].required
    table = Table(
        "Agreement of each milestone with the ends of other runs, and the ceiling: the agreement of those ends. "
        f"One-sided p of the share being at most {number(required)}; corrected: milestones are tested from the last "
        "to the first, each only where the later ones reach it, times the number of scorers, data sets and sizes, "
        "declared tests apart from exploratory ones",
        columns(
            "scorer",
            "data",
            "#after",
            "#time until then",
            "#k",
            "#agreement",
            "#ceiling",
            "#share",
            "#p",
            "#corrected p",
            "status",
            "verdict",
        ),
        tuple(
            (
                row.kind,
                row.data or "\u2013",
                percent(row.checkpoint),
                "\u2013" if row.seconds is None else seconds(row.seconds),
                str(row.k),
                fixed(row.agreement, 2) + _interval(row.agreement_low, row.agreement_high),
                fixed(row.ceiling, 2) + _interval(row.ceiling_low, row.ceiling_high),
                fixed(row.share, 2) + (_interval(row.low, row.high) if row.shape == "interval" else ""),
                p_value(row.p),
                p_value(row.adjusted_p),
                status_of(row.declared).lower(),
                row.verdict,
            )
            for row in rows
        ),
        "milestones.csv",
    )
    sentences = Bullets(tuple((row.sentence,) for row in rows))
    return [heading, sentences, *_figure(rows), table]


def _figure(rows: Sequence[MilestoneRow]) -> Iterator[Figure]:
    """None where no milestone has a share whose set says anything."""
    required = rows[0].required
    panels = []
    for k in dict.fromkeys(row.k for row in rows):
        chosen = [row for row in rows if row.k == k and row.share is not None and row.shape != "everything"]
        if chosen:
            title = f"Share of the ceiling, top {k} of {chosen[0].of}"
            estimated = tuple(map(_estimated, chosen))
            panels.append(Panel(title, "agreement / ceiling", estimated, 1 - required, 1.0))
    if not panels:
        return
    alt = "Forest plot of the share of the noise ceiling that each milestone reaches; the table gives the same numbers."
    yield Figure(
        "milestones",
        "Milestones against the noise ceiling",
        described(draw(forest(panels), "milestones"), alt),
        alt,
        "Rows: share of the planned steps, and the time until then. Diamond: agreement of a milestone with the ends "
        "of other runs, over the agreement of those ends. Bar: "
        f"{level(rows[0].level)} Fieller set from a jackknife that leaves out a seed with its milestone and its end. "
        f"The band begins at {number(required)}, the share that the test is about.",
        ("milestones.csv",),
    )


def _estimated(row: MilestoneRow) -> ForestRow:
    bounded = row.shape == "interval"
    low, high = (row.low, row.high) if bounded else (None, None)
    label = fixed(row.share, 2) + (_interval(low, high) if bounded else " (unbounded)")
    name = f"{row.kind}, {percent(row.checkpoint)}"
    if row.seconds is not None:
        name += f", {seconds(row.seconds)}"
    share = row.share if row.share is not None else 0.0
    return ForestRow(name, row.data or "", share, low, high, (), label, f"{name}\n{label}\n{row.verdict}")


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{fixed(low, 2)}, {fixed(high, 2)}]"
