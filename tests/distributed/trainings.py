"""Trainings and scorings of a tiny model in float64, run by one process or by all processes of a launch.

    torchrun --nproc-per-node 2 -m tests.distributed.trainings FOLDER NAME TRAINING,... [--shard] [--plain] [--dies]

`FOLDER` is what `write_inputs` wrote; outputs go to `FOLDER/NAME/TRAINING`. With `--dies` every step is kept in a
checkpoint, and the last process kills itself after step 7.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from layersig.distributed.launch import Launch
from layersig.distributed.start import driving, follow
from layersig.plugin.manager import built_in
from layersig.recipe.schema import TrainSettings
from layersig.records import Cell
from layersig.stages import interval
from layersig.stages.job import Job
from layersig.stages.kinds import Score
from layersig.streams import Streams
from layersig.training.callbacks import Progress
from layersig.training.log import Step
from tests.training import world

STEPS = 20
TRAIN = world.TRAIN.model_copy(update={"epochs": None, "steps": STEPS, "batch_size": 5, "learning_rate": 5e-3})
ROLES = ("model", "data", "layers", "selection")
SCORERS: Mapping[str, Mapping[str, Any]] = {
    "gradient-norm": {"batches": 5, "relative": True},
    "projected-gradient": {"batches": 5},
    "whitened-gradient": {"batches": 5},
    "update-taylor": {"batches": 5},
    "adalora-sensitivity": {"batches": 5},
}
"""Scorers that read gradients, with more batches than processes, which do not go into them evenly."""
COMPUTE = {"dtype": "float64", "device": "cpu", "quantization": "none", "attention": "sdpa"}


def trainings(folder: Path, name: str, *, fast: bool = True) -> dict[str, Callable[[], Job[Any]]]:
    """Every training by its name, to be run in this order; a mask is learned on what the reference training left."""
    inputs = {role: folder / role for role in ROLES}

    def training(called: str, settings: TrainSettings, **params: Any) -> Job[Any]:
        return world.job(folder, inputs, f"{name}/{called}", train=settings, **{**COMPUTE, "fast": fast}, **params)

    def scoring(called: str, scorer: str, params: Mapping[str, Any]) -> Job[Any]:
        parts = [folder / name / called / part for part in ("out", "work")]
        for part in parts:
            part.mkdir(parents=True, exist_ok=True)
        spec = Score.of(scorer=scorer, params=params, unit="module", train=TRAIN, fast=fast, **COMPUTE)
        read = {**{role: inputs[role] for role in ROLES[:3]}, "update": folder / name / "reference" / "out" / "at-1"}
        return Job(Cell(), spec, read, *parts, Streams(1, 0), components=(built_in().get("scorer", scorer),))

    mask = {"steps": STEPS, "optimizer": "sgd", "learning_rate": 10.0, "initial": 1.0, "keep_every": 1}
    dry = TRAIN.model_copy(update={"dropout": 0.0})
    wet = TRAIN.model_copy(update={"dropout": 0.1})
    full = dry.model_copy(update={"method": "full", "learning_rate": 1e-3, "clip": 0.5})
    return {
        "reference": lambda: training("reference", wet, milestones=(0.5, 1.0)),
        "mask": partial(scoring, "mask", "ila", mask),
        **{scorer: partial(scoring, scorer, scorer, params) for scorer, params in SCORERS.items()},
        "dry": lambda: training("dry", dry),
        "full": lambda: training("full", full),
    }


def found(folder: Path, name: str) -> Mapping[str, Any]:
    """What the trainings left: losses and gradient norms by step, and the path of the mask scores."""
    logs = {
        path.parts[-3]: [(step["loss"], step["gradient_norm"]) for step in json.loads(path.read_text())["steps"]]
        for path in sorted((folder / name).glob("*/out/log.json"))
    }
    for path in (folder / name).glob("mask/out/trajectory.jsonl"):
        logs["mask"] = [list(json.loads(line)["scores"].values()) for line in path.read_text().splitlines()]
    return logs


def rankings(folder: Path, name: str) -> Mapping[str, Mapping[str, float]]:
    """What the scorers that read gradients left: scores by layer."""
    files = {scorer: folder / name / scorer / "out" / "ranking.json" for scorer in SCORERS}
    return {scorer: json.loads(path.read_text())["scores"] for scorer, path in files.items() if path.exists()}


def main(folder: Path, name: str, chosen: Collection[str], *options: str) -> None:
    """Run trainings in all processes of this launch."""
    launch = Launch.of(os.environ)
    if "--dies" in options:
        interval.SECONDS, interval.SHARE = 0.0, 1e9
        if launch is not None and launch.rank == launch.size - 1:
            Progress.after_step = _die  # type: ignore[method-assign]
    if launch is not None and launch.rank > 0:
        follow(launch)
        return
    with driving(launch, sharded="--shard" in options) as driver:
        for called, make in trainings(folder, name, fast="--plain" not in options).items():
            if called not in chosen:
                continue
            job = make()
            if driver is None:
                job.spec.run(job)
            else:
                driver.run(job, (), job.spec.run)
            (job.work.parent / "cost.json").write_text(json.dumps(job.cost))


def _die(_: Progress, step: Step) -> None:
    if step.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(","), *sys.argv[4:])
