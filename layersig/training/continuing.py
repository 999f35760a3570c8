"""What a training takes from equal ones that ended earlier or later.

Trainings that differ only in their last milestone are the same up to the end of the shorter one: batches, masks and
learning rates belong to the planned length. So a longer one can start from the state in which a shorter one ended, and
a shorter one can read its updates from a longer one. Neither changes a byte of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layersig.jsonform import Open, read_json, read_jsonl
from layersig.stages.job import Earlier, Job
from layersig.stages.kinds import Training
from layersig.store.files import files_below, link_or_copy
from layersig.training.checkpoint import CHECKPOINT
from layersig.training.log import Step, StepForm
from layersig.training.stability import stability


class _LogForm(Open):
    """What is read of `log.json`."""

    numerics: str
    planned_steps: int


def step_of(fraction: float, planned: int) -> int:
    """The step after which a fraction of the planned steps is done: at least the first."""
    return max(1, round(fraction * planned))


def taken_over(job: Job[Training], kept: Mapping[str, float]) -> bool:
    """Take everything from an equal training that kept all of it.

    Args:
        job: The training.
        kept: Fractions of the planned steps by the name of the update to keep there.

    Returns:
        False, and nothing done, where no earlier training kept all of it.
    """
    earlier = next((each for each in job.earlier if all((each.out / name).is_dir() for name in kept)), None)
    if earlier is None:
        return False
    log = read_json(earlier.out / "log.json", _LogForm)
    last = step_of(max(kept.values()), log["planned_steps"])
    steps = [Step(**row) for row in read_jsonl(earlier.metrics, StepForm)][:last]
    for name in [*kept, *(["model"] if 1.0 in kept.values() else [])]:
        link_folder(earlier.out / name, job.out / name)
    if job.kept is not None and earlier.cost["steps"] == last:
        link_folder(earlier.kept, job.kept)
    write_log(job, steps, log["planned_steps"], log["numerics"])
    tokens = sum(step.tokens for step in steps)
    seconds = sum(step.seconds for step in steps)
    now = {"tokens": tokens, "seconds_per_token": seconds / tokens, "steps": last, "continued_from": last}
    job.cost.update({**earlier.cost, **now})
    return True


def continue_in(work: Path, earlier: Sequence[Earlier], due: Mapping[int, Sequence[str]]) -> int:
    """Put the furthest state of equal trainings that ended earlier into `work`, unless an interrupted one lies there.

    Args:
        work: Folder for the state of the training and for what it keeps.
        earlier: Equal trainings of other lengths.
        due: Names of the updates to keep by step.

    Returns:
        Number of steps that need not be trained; 0 without such a training.
    """
    best = max((each for each in earlier if _leads_to(each, due)), key=lambda each: each.cost["steps"], default=None)
    if best is None:
        return 0
    done = int(best.cost["steps"])
    if not (work / CHECKPOINT).exists():
        for step, names in due.items():
            for name in names if step <= done else ():
                link_folder(best.out / name, work / name)
        link_or_copy(best.kept / CHECKPOINT, work / CHECKPOINT)
    return done


def write_log(job: Job[Training], steps: Sequence[Step], planned: int, numerics: str, **more: Any) -> None:
    """Write `log.json`, and the steps with their times into the metrics."""
    rows = [step.to_json() for step in steps]
    job.metrics.extend(rows)
    job.write(
        "log.json",
        {
            "numerics": numerics,
            "planned_steps": planned,
            "stability": asdict(stability([step.loss for step in steps])),
            **more,
            "steps": [{key: value for key, value in row.items() if key != "seconds"} for row in rows],
        },
    )


def _leads_to(earlier: Earlier, due: Mapping[int, Sequence[str]]) -> bool:
    """Whether a training left its state, and every update that is due up to there."""
    done = earlier.cost["steps"]
    names = [name for step, names in due.items() if step <= done for name in names]
    return (earlier.kept / CHECKPOINT).is_file() and all((earlier.out / name).is_dir() for name in names)


def link_folder(source: Path, target: Path) -> None:
    """Put the files below a folder below another, as hard links where the file system allows it."""
    for name in files_below(source) if source.is_dir() else ():
        link_or_copy(source / name, target / name)
