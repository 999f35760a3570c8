"""Stages for worker processes: each notes that it ran, and sleeps, breaks or kills its process."""

from __future__ import annotations

import os
import signal
import time

from layersig.stages.job import Job
from layersig.stages.spec import StageSpec


class Step(StageSpec):
    kind, version, body = "step", 1, f"{__name__}:step"
    may_read = ("before*",)

    name: str
    log: str
    seconds: float = 0.0
    dies: int = 0
    breaks: bool = False


def step(job: Job[Step]) -> None:
    """Append one line to the log, then do what the spec says."""
    spec = job.spec
    assert not list(job.out.iterdir())
    with open(spec.log, "a") as log:  # noqa: PTH123
        log.write(f"{spec.name}\n")
    job.reporter.start("sleeping", 1, "naps")
    tries = job.work / "tries"
    done = int(tries.read_text()) if tries.exists() else 0
    if done < spec.dies:
        tries.write_text(str(done + 1))
        (job.out / "half-written").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.breaks:
        raise ValueError("no such nap")
    time.sleep(spec.seconds)
    job.reporter.warn("slept")
    job.write("value.json", {"name": spec.name, "read": sorted(job.inputs)})
