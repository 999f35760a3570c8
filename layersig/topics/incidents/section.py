"""What scores do not show: prompts and answers that were cut, answers that are empty, choices that tie."""

from __future__ import annotations

from layersig.report.document import Block, Callout, Details, Paragraph, Section, Table, Text, columns
from layersig.report.material import Material
from layersig.report.numbers import count, percent
from layersig.topics.incidents.rows import INCIDENTS, IncidentRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None when no task was evaluated and no question answered."""
    rows = material.findings[INCIDENTS]
    if not rows:
        return None
    blocks: list[Block] = []
    warnings: list[Text] = [(f"{row.task}, {_arm(row)}: {sentence}.",) for row in rows for sentence in row.warnings]
    if warnings:
        blocks.append(Callout("warning", "Scores that say less than they seem to", tuple(warnings)))
    blocks.append(Paragraph((_summary(rows),)))
    blocks.append(Details(f"By arm and task ({len(rows)})", (_table(rows),)))
    return Section("incidents", "Cut, empty and tied", tuple(blocks))


def _arm(row: IncidentRow) -> str:
    return row.arm if row.data is None else f"{row.arm} trained on {row.data}"


def _summary(rows: tuple[IncidentRow, ...]) -> str:
    def total(name: str) -> str:
        return count(sum(getattr(row, name) or 0 for row in rows))

    return (
        f"Over all arms, tasks and seeds: {total('prompts_cut')} prompts lost their beginning, {total('answers_cut')} "
        f"answers were cut before they ended, {total('answers_empty')} answers are empty, and in {total('ties')} items "
        "several choices have the highest log-likelihood, of which the first counts, as in lm-eval."
    )


def _table(rows: tuple[IncidentRow, ...]) -> Table:
    return Table(
        "What prompts and answers met with, in items of all seeds; shares of the items in brackets",
        columns("arm", "data", "task", "#items", "#prompts cut", "#answers cut", "#answers empty", "#ties"),
        tuple(
            (
                row.arm,
                row.data or _NONE,
                row.task,
                count(row.items),
                *(_of(row, value) for value in (row.prompts_cut, row.answers_cut, row.answers_empty, row.ties)),
            )
            for row in rows
        ),
        "incidents.csv",
    )


def _of(row: IncidentRow, value: int | None) -> str:
    if value is None:
        return _NONE
    return f"{count(value)} ({percent(value / row.items, 1)})" if value else "0"
