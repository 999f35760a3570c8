"""The data as the run saw it: counts, template, what the model reads, and how the tasks ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layersig.findings.files import HELDOUT
from layersig.findings.forms import PromptForm
from layersig.report.document import (
    Block,
    Bullets,
    Code,
    Column,
    Details,
    Heading,
    Inline,
    Listing,
    Paragraph,
    Section,
    Strong,
    Table,
    Text,
    columns,
)
from layersig.report.material import Material
from layersig.report.numbers import count, number, percent
from layersig.report.topic import Topic

_APART = ("example", "fields")
"""What is shown in a block of its own."""
_SHORT = 16
_MOST_FIELDS = 50


def section(material: Material) -> Section | None:
    """None when neither a data stage nor an evaluation left its record."""
    blocks = (
        *_recovered(material),
        *_generated(material),
        *_records(material),
        *_fields(material),
        *_examples(material),
        *_tasks(material),
        *_prompts(material),
        *_overlaps(material),
    )
    return Section("data", "Data and prompts", blocks) if blocks else None


def _recovered(material: Material) -> list[Block]:
    stages = {stage["id"]: stage for stage in material.files.manifest["stages"]}
    rows = []
    for stage in stages.values():
        if stage["kind"] == "recover":
            reads = stage.get("inputs", {})
            pruned, data = reads.get("model", "").removesuffix("/model"), reads.get("data", "")
            rows_of_data = stages[data].get("inputs", {}).get("rows", "") if data in stages else ""
            made = rows_of_data.startswith("generate/")
            rows.append((stage["id"], pruned, data, "the untouched model" if made else "the data set"))
    heads = columns("recovery", "starts from the model of", "is trained on", "whose answers are by")
    return [Table("Both parents of each recovered model", heads, tuple(rows))] if rows else []


def _generated(material: Material) -> list[Block]:
    caption = (
        "Self-generated responses: the untouched model answered the first prompts of the data, and what it wrote is "
        "what was trained on"
    )
    return _side_by_side(caption, material.files.generation_reports)


def _records(material: Material) -> list[Block]:
    return _side_by_side("What the data stages recorded", material.files.data_reports)


def _side_by_side(caption: str, records: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    reports = {name: dict(_leaves(report)) for name, report in records.items()}
    if not reports:
        return []
    keys = dict.fromkeys(key for report in reports.values() for key in report)
    heads = (Column("record"), *(Column(name, True) for name in reports))
    rows = tuple((key, *(_shown(report.get(key)) for report in reports.values())) for key in keys)
    return [Table(caption, heads, rows)]


def _leaves(report: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Every value of a record but what is shown apart, with the path of its keys."""
    found: list[tuple[str, Any]] = []
    for key, value in report.items():
        if isinstance(value, Mapping):
            found += _leaves(value, f"{prefix}{key}: ")
        elif key not in _APART:
            found.append((f"{prefix}{key}".replace("_", " "), value))
    return found


def _fields(material: Material) -> list[Block]:
    """What became of every field of the rows."""
    rows: list[tuple[Inline, ...]] = [
        (name, Code(found["field"]), found["use"], count(found["rows"]), percent(found["rows"] / report["rows"], 1))
        for name, report in material.files.data_reports.items()
        if "rows" in report
        for found in report.get("fields", [])[:_MOST_FIELDS]
    ]
    if not rows:
        return []
    heads = columns("data", "field", "use", "#rows that have it", "#of all rows")
    return [Table("What became of every field of the rows", heads, tuple(rows))]


def _examples(material: Material) -> list[Block]:
    """The first training example of every data set; what the model is to predict stands out."""
    found: list[Block] = []
    for name, report in material.files.data_reports.items():
        parts: Text = tuple(
            Strong(piece["text"]) if piece["target"] else piece["text"] for piece in report.get("example", ())
        )
        if parts:
            found.append(Listing(f"A training example of {name}; what the model is to predict stands out", parts))
    return found


def _tasks(material: Material) -> list[Block]:
    rows: list[tuple[Inline, ...]] = [
        (
            task,
            str(record.get("split", "\u2013")),
            count(record.get("n")),
            count(record.get("rows")),
            _examples_shown(record),
            Code(str(record.get("prompts", "\u2013"))[:_SHORT]),
        )
        for task, record in material.files.task_records.items()
    ]
    if not rows:
        return []
    heads = columns("task", "split", "#items evaluated", "#items there are", "#shots", "digest of the prompts")
    return [Table("What the tasks ask, equal in every arm", heads, tuple(rows))]


def _prompts(material: Material) -> list[Block]:
    """The first item of every task as the model reads it, folded away."""
    return [
        Details(f"The first prompt of {task}, as the model reads it", _prompt(record["prompt"]))
        for task, record in material.files.task_records.items()
        if "prompt" in record
    ]


def _prompt(shown: PromptForm) -> tuple[Block, ...]:
    read = tuple(
        Listing(f"Item {shown['item']}" + (f", choice {number}" if len(shown["texts"]) > 1 else ""), (text,))
        for number, text in enumerate(shown["texts"], start=1)
    )
    cut: tuple[Block, ...] = (Paragraph(("The rest of a longer text is left out here.",)),) if shown.get("cut") else ()
    answers = tuple((Code(answer),) for answer in shown["answers"])
    scored: tuple[Block, ...] = (Heading("What is scored behind it"), Bullets(answers)) if answers else ()
    return (*read, *cut, *scored)


def _examples_shown(record: Mapping[str, Any]) -> str:
    shown = str(record.get("shots", "\u2013"))
    if "shots_from" in record:
        shown += f" from {record['shots_from']}"
    if replaced := record.get("shots_replaced", {}).get("examples"):
        shown += f" ({count(replaced)} replaced: the item itself)"
    return shown


def _overlaps(material: Material) -> list[Block]:
    rows: list[tuple[Inline, ...]] = [
        (
            "held-out conversations of the same data" if task == HELDOUT else task,
            data,
            count(record["items"]),
            n,
            count(record["items"] - found["too_short"]),
            count(found["hits"]),
            percent(found["share"], 1),
            count(found["covered"]),
        )
        for data, tasks in material.files.overlaps.items()
        for task, record in tasks.items()
        for n, found in sorted(record["ngrams"].items(), key=lambda each: int(each[0]))
    ]
    if not rows:
        return []
    caption = (
        "What the training conversations share with what is evaluated, in runs of n words. An item of fewer words "
        "cannot share one; an item is covered where at least 70 % of its runs occur in the training conversations"
    )
    heads = columns("evaluated", "data", "#items", "#n", "#long enough", "#share a run", "#of long enough", "#covered")
    return [Table(caption, heads, tuple(rows))]


def _shown(value: object) -> Inline:
    match value:
        case None:
            return "\u2013"
        case bool():
            return "yes" if value else "no"
        case int():
            return count(value)
        case float():
            return number(value)
        case str() if len(value) > _SHORT * 2:
            return Code(f"{value[:_SHORT]}\u2026")
        case _:
            return Code(str(value))


TOPIC = Topic("data", section=section, place=190)
