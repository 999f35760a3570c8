"""Drivers and workers of engines that are killed at random moments: runs must end as if none had been.

On what is checked at every kill see `kills`. Workers that outlive their driver must end by themselves.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.torture.harness import Trial
from tests.torture.killed_run import KilledRun, Study, warm
from tests.torture.victims import engine

ENGINES = ("local:2", "ray")


def trials(count: int, folder: Path) -> Iterator[Trial]:
    """Kills of drivers and workers in turns.

    Args:
        count: How many of each engine.
        folder: Where the study is run.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # for workers; torch is imported below
    warm()
    study = Study.prepared("given", folder, "", runs=1)
    for name in ENGINES:
        with engine(name) as found:
            if found is None:
                continue
            run = KilledRun(study, random.Random(f"kills/{name}"), found)
            began = time.monotonic()
            run.end()
            half = (time.monotonic() - began) / 2
            for number in range(count):
                whom, kill = ("worker", run.kill_worker) if number % 2 else ("driver", run.kill_driver)
                yield Trial(f"{whom} {number} of {name}", partial(kill, half), str(study.inputs))
            yield Trial(f"the end of {name}", run.end, str(study.inputs))
