"""What a judge model says of single answers: who judged, grades by category and turn, the noise of repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np

from layersig.analysis.tables import mean_of
from layersig.findings.arms import Arms
from layersig.findings.contrasts import scope_of
from layersig.findings.files import JUDGEMENTS, PAIRS, RunFiles
from layersig.findings.forms import JudgedForm
from layersig.findings.outcomes import Measure
from layersig.jsonform import read_json
from layersig.judging.records import SCORE
from layersig.recipe.schema import BASE
from layersig.records import Cell
from layersig.topics.judge.records import JudgeRecords, mean_of_turns
from layersig.topics.judge.rows import JudgedRow, JudgeNoiseRow, JudgeRow

What = Literal["grades", "comparisons"]


def judge_rows(files: RunFiles) -> Iterator[JudgeRow]:
    """Who judged, for grades and for comparisons; stages that asked different judges give a row each."""
    kinds: tuple[tuple[What, str], ...] = (("grades", JUDGEMENTS), ("comparisons", PAIRS))
    for what, folder in kinds:
        found = [read_json(path, JudgedForm) for path in files.by_cell(folder, "results.json").values()]
        judges = [tuple(each["judge"].items()) for each in found]
        for judge in dict.fromkeys(judges):
            own = [each for each, asked in zip(found, judges, strict=True) if asked == judge]
            yield _judge_row(what, dict(judge), own)


def judged_rows(records: JudgeRecords, arms: Arms) -> Iterator[JudgedRow]:
    """The mean grade of every arm on every set: in all, by category, by turn."""
    for measure, arm, data in _measured(arms):
        seeds = arms.outcomes.seeds(measure, arm, data)
        raw = arms.outcomes.raw(measure, arm, data, seeds)
        turns = [records.turn(measure.task, item) for item in arms.outcomes.items[measure].names]
        ends = [records.ends[cell][measure.task] for cell in _cells(arm, data, seeds)]
        for by, group, mask in records.groups(measure.task, turns):
            chosen = [turn for turn, kept in zip(turns, mask, strict=True) if kept]
            estimate = mean_of_turns(raw[:, mask], chosen)
            interval = estimate.interval(arms.level) if estimate else None
            yield JudgedRow(
                arm=arm,
                data=data,
                set=measure.task,
                by=by,
                group=group,
                value=float(raw[:, mask].mean()),
                se=estimate.se if estimate else None,
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                level=arms.level,
                n=len(chosen),
                questions=len({question for question, _ in chosen}),
                seeds=0 if arm == BASE else len(seeds),
                scope=scope_of(seeds).value,
                cut=float(np.mean([each[turn] != "stop" for each in ends for turn in chosen])),
            )


def noise_rows(records: JudgeRecords, arms: Arms) -> Iterator[JudgeNoiseRow]:
    """How the repeats of a grade differ, where there are any."""
    for measure, arm, data in _measured(arms):
        seeds = arms.outcomes.seeds(measure, arm, data)
        rated: list[list[float]] = []
        for cell in _cells(arm, data, seeds):
            own = (each for each in records.grades[cell] if each.key.set == measure.task)
            for _, repeats in groupby(own, lambda each: (each.key.question, each.key.turn)):
                rated.append([each.verdict for each in repeats if isinstance(each.verdict, float)])
        rated = [values for values in rated if values]
        several = [values for values in rated if len(values) > 1]
        if not several:
            continue
        squares = sum(float(np.var(values)) * len(values) for values in several)
        variance = squares / sum(len(values) - 1 for values in several)
        estimate = mean_of(arms.outcomes.units(measure, arm, data, seeds))
        yield JudgeNoiseRow(
            arm=arm,
            data=data,
            set=measure.task,
            repeats=max(map(len, several)),
            agree=sum(min(values) == max(values) for values in several) / len(several),
            repeat_sd=variance**0.5,
            se_repeats=(variance * sum(1 / len(values) for values in rated)) ** 0.5 / len(rated),
            se=estimate.se if estimate else None,
        )


def _measured(arms: Arms) -> Iterator[tuple[Measure, str, str | None]]:
    out = arms.plan.further_controls
    return (cell for cell in arms.cells() if cell[0].metric == SCORE and cell[1] not in out)


def _cells(arm: str, data: str | None, seeds: Sequence[int | None]) -> list[Cell]:
    return [Cell(arm=arm, data=data, seed=seed) for seed in seeds]


def _judge_row(what: What, judge: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> JudgeRow:
    def total(name: str) -> int:
        return sum(each[name] for each in found)

    dates = sorted(each[end] for each in found for end in ("first", "last") if each[end] is not None)
    return JudgeRow(
        what=what,
        model=judge["model"],
        answered_by=tuple(sorted({name for each in found for name in each["models"]})),
        first=dates[0] if dates else None,
        last=dates[-1] if dates else None,
        endpoint=judge["endpoint"],
        temperature=judge["temperature"],
        repeats=judge["repeats"],
        attempts=judge["attempts"],
        verdicts=total("verdicts"),
        asked_again=total("asked_again"),
        cut=sum(count for each in found for end, count in each.get("finish", {}).items() if end != "stop"),
        invalid=total("invalid"),
        refused=total("refused"),
    )
