"""What the untouched model solves and an arm does not: how often, and a few examples drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layersig.findings.files import RunFiles
from layersig.findings.outcomes import OutcomeTables
from layersig.recipe.schema import BASE
from layersig.records import Cell
from layersig.streams import Streams
from layersig.topics.failures.rows import FailureCountRow, FailureRow

EXAMPLES = 3
"""Examples of each arm and task."""
_HEAD, _TAIL = 1200, 800
"""Characters of a long text that are shown from its beginning and its end."""

Line = Mapping[str, Any]


def failure_rows(
    files: RunFiles, outcomes: OutcomeTables, root_seed: int
) -> tuple[tuple[FailureCountRow, ...], tuple[FailureRow, ...]]:
    """Counts by arm and task, and examples drawn from all lost items and runs by a stream of the root seed.

    Only tasks that are answered in writing and whose primary metric is right or wrong take part.

    Args:
        files: The run.
        outcomes: Its outcomes.
        root_seed: The recipe's.
    """
    base: dict[str, dict[str, Line]] = {}
    runs: dict[tuple[str, str | None, str], dict[int | None, dict[str, Line]]] = {}
    for cell, lines in files.responses():
        for line in lines:
            if cell.arm == BASE:
                base.setdefault(line["task"], {})[line["item"]] = line
            else:
                own = runs.setdefault((cell.arm or "", cell.data, line["task"]), {})
                own.setdefault(cell.seed, {})[line["item"]] = line
    counts: list[FailureCountRow] = []
    examples: list[FailureRow] = []
    for (arm, data, task), by_seed in runs.items():
        metric = _solved_by(outcomes, task)
        if metric is None or task not in base:
            continue
        count, lost = _compared(arm, data, task, metric, base[task], by_seed)
        counts.append(count)
        examples += _drawn(count, lost, base[task], by_seed, root_seed)
    return tuple(counts), tuple(examples)


def _solved_by(outcomes: OutcomeTables, task: str) -> str | None:
    """The primary metric of a task where every outcome of it is right or wrong."""
    for measure, cells in outcomes.values.items():
        if measure.task == task and outcomes.primary(measure) and Cell(arm=BASE) in cells:
            graded = any(value not in (0.0, 1.0) for values in cells.values() for value in values.tolist())
            return measure.metric if measure.is_share and not graded else None
    return None


def _compared(
    arm: str,
    data: str | None,
    task: str,
    metric: str,
    base: Mapping[str, Line],
    by_seed: Mapping[int | None, Mapping[str, Line]],
) -> tuple[FailureCountRow, list[tuple[int | None, str]]]:
    both = gained = neither = 0
    lost: list[tuple[int | None, str]] = []
    for seed, lines in by_seed.items():
        for item, line in lines.items():
            if item not in base or any(metric not in each.get("scores", {}) for each in (base[item], line)):
                continue
            before, after = (float(each["scores"][metric]) == 1.0 for each in (base[item], line))
            both += before and after
            gained += after and not before
            neither += not before and not after
            if before and not after:
                lost.append((seed, item))
    row = FailureCountRow(
        arm=arm,
        data=data,
        task=task,
        metric=metric,
        both=both,
        lost=len(lost),
        gained=gained,
        neither=neither,
        seeds=len(by_seed),
    )
    return row, lost


def _drawn(
    count: FailureCountRow,
    lost: Sequence[tuple[int | None, str]],
    base: Mapping[str, Line],
    by_seed: Mapping[int | None, Mapping[str, Line]],
    root_seed: int,
) -> Iterator[FailureRow]:
    rng = Streams(root_seed).generator("failures", count.arm, count.data or "", count.task)
    for place in sorted(rng.choice(len(lost), size=min(EXAMPLES, len(lost)), replace=False).tolist()) if lost else ():
        seed, item = lost[place]
        line = by_seed[seed][item]
        yield FailureRow(
            arm=count.arm,
            data=count.data,
            seed=seed,
            task=count.task,
            metric=count.metric,
            item=item,
            question=_shown(line["question"]),
            target=_shown(str(line["target"])),
            untouched=_shown(base[item]["response"]),
            response=_shown(line["response"]),
            finish=line.get("finish"),
            error=line["code"]["error"] if "code" in line else None,
            of=count.lost,
        )


def _shown(text: str) -> str:
    left_out = len(text) - _HEAD - _TAIL
    if left_out <= 0:
        return text
    return f"{text[:_HEAD]}\n[... {left_out} characters left out ...]\n{text[-_TAIL:]}"
