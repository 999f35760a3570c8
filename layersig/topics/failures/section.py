"""Items that the untouched model solves and an arm does not: counts, and examples with both answers."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.document import Block, Details, Listing, Paragraph, Section, Strong, Table, Text, columns
from layersig.report.material import Material
from layersig.report.numbers import count
from layersig.topics.failures.compute import EXAMPLES
from layersig.topics.failures.rows import FAILURE_COUNTS, FAILURES, FailureRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None where no task is answered in writing and scored right or wrong."""
    counts = material.findings[FAILURE_COUNTS]
    if not counts:
        return None
    about = Paragraph(
        (
            "Answers that the untouched model gets right and an arm gets wrong, and the other way round, over all "
            f"training runs. Of the lost items of every arm and task, at most {EXAMPLES} are shown, drawn at random by "
            "the recipe's root seed, not by hand; every response is in responses.jsonl.",
        )
    )
    table = Table(
        "Items solved, by the untouched model and by the arm",
        columns("arm", "data", "task", "metric", "#both", "#lost", "#gained", "#neither", "#S"),
        tuple(
            (
                row.arm,
                row.data or _NONE,
                row.task,
                row.metric,
                count(row.both),
                count(row.lost),
                count(row.gained),
                count(row.neither),
                str(row.seeds),
            )
            for row in counts
        ),
        "failure_counts.csv",
    )
    examples = material.findings[FAILURES]
    places = dict.fromkeys((row.arm, row.data, row.task) for row in examples)
    shown: list[Block] = [
        _examples([row for row in examples if (row.arm, row.data, row.task) == place]) for place in places
    ]
    return Section("failures", "What an arm no longer solves", (about, table, *shown))


def _examples(rows: Sequence[FailureRow]) -> Details:
    first = rows[0]
    of = f"{len(rows)} of {first.of} lost items"
    return Details(
        f"{first.arm}{f', {first.data}' if first.data else ''}, {first.task}: {of}",
        tuple(Listing(_title(row), _text(row)) for row in rows),
    )


def _title(row: FailureRow) -> str:
    parts = [f"Item {row.item}"]
    parts += [f"seed {row.seed}"] if row.seed is not None else []
    parts += [f"the arm's answer ends by {row.finish}"] if row.finish else []
    parts += [f"its program with {row.error}"] if row.error else []
    return ", ".join(parts)


def _text(row: FailureRow) -> Text:
    return (
        Strong("Question\n"),
        f"{row.question.strip()}\n\n",
        Strong("Right answer\n"),
        f"{row.target.strip()}\n\n",
        Strong("Untouched model\n"),
        f"{row.untouched.strip()}\n\n",
        Strong(f"{row.arm}\n"),
        f"{row.response.strip()}\n",
    )
