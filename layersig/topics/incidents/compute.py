"""What happened to prompts and answers on the way to the scores, by arm and task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from layersig.findings.files import CONVERSATIONS, RunFiles
from layersig.findings.forms import EvaluationForm
from layersig.incidents import Incidents
from layersig.jsonform import read_json
from layersig.judging.records import AnswerRecord, read_answers
from layersig.recipe.schema import BASE
from layersig.records import Cell
from layersig.topics.incidents.rows import IncidentRow

Counted = Mapping[str, tuple[int, Incidents]]
"""By task or set of questions: its items, and what they met with."""


def incident_rows(files: RunFiles) -> Iterator[IncidentRow]:
    """A row for every arm and task, seeds added up; evaluations that noted nothing give none."""
    found: dict[tuple[str, str | None, str], list[tuple[int, Incidents]]] = {}
    for cell, counted in _counted(files):
        for task, own in counted.items():
            found.setdefault((cell.arm or "", cell.data, task), []).append(own)
    for (arm, data, task), runs in found.items():
        items = sum(count for count, _ in runs)
        met = sum((incidents for _, incidents in runs[1:]), start=runs[0][1])
        yield IncidentRow(
            arm=arm,
            data=data,
            task=task,
            items=items,
            seeds=0 if arm == BASE else len(runs),
            prompts_cut=met.prompts_cut,
            answers_cut=met.answers_cut,
            answers_empty=met.answers_empty,
            ties=met.ties,
            warnings=tuple(met.many(items)),
        )


def _counted(files: RunFiles) -> Iterator[tuple[Cell, Counted]]:
    for cell, path in files.by_cell("evaluations", "results.json").items():
        tasks = read_json(path, EvaluationForm)["tasks"]
        yield (
            cell,
            {
                task: (record["n"], Incidents.from_json(record["incidents"]))
                for task, record in tasks.items()
                if "incidents" in record and "n" in record
            },
        )
    for cell, path in files.by_cell(CONVERSATIONS, "answers.jsonl").items():
        answers = list(read_answers(path))
        names = dict.fromkeys(each.set for each in answers)
        yield cell, {name: _of_set([each for each in answers if each.set == name]) for name in names}


def _of_set(answers: Sequence[AnswerRecord]) -> tuple[int, Incidents]:
    turns = [turn for each in answers for turn in zip(each.finish, each.answers, strict=True)]
    return len(turns), Incidents(
        prompts_cut=sum(finish == "no-room" for finish, _ in turns),
        answers_cut=sum(finish in ("length", "context") for finish, _ in turns),
        answers_empty=sum(finish != "no-room" and not text.strip() for finish, text in turns),
    )
