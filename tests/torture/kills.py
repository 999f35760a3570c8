"""Runs that are killed again and again, at random moments: each must end as if it never had been.

A study is run once unbroken. In a copy of its inputs it is run again, killed, run again, and so on until it ends; then
all of its files must be those of the unbroken run, but for measured times. In between nothing that was finished may be
lost or found damaged, no lock may stay, and no process may be left.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.torture.harness import Trial
from tests.torture.killed_run import KilledRun, Study, warm
from tests.torture.kills_studies import STUDIES, judge
from tests.torture.lives import served

OF_EMBEDDED = 10
FULL = 300
"""Kills of a complete torture, to which those on the embedded model are added."""


def trials(count: int, folder: Path) -> Iterator[Trial]:
    """So many kills.

    Args:
        count: How many; from `FULL` on others follow, on the embedded model.
        folder: Where the studies are run.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # for workers; torch is imported below
    with ExitStack() as stack:
        endpoint = stack.enter_context(served(judge))
        warm()
        names = [name for name in STUDIES if name != "embedded"] if count >= 9 else ["given"]
        studies = [Study.prepared(name, folder, endpoint, runs=1 if count < FULL else 2) for name in names]
        runs = [KilledRun(study, random.Random(f"kills/{study.name}")) for study in studies]
        for number in range(count):
            run = runs[number % len(runs)]
            yield Trial(f"{number} {run.study.name}", run.kill, str(folder))
        for run in runs:
            yield Trial(f"the end of {run.study.name}", run.end, str(folder))
        if count >= FULL:
            yield from _of_embedded_model(folder, endpoint)


def _of_embedded_model(folder: Path, endpoint: str) -> Iterator[Trial]:
    """Kills of a run of a real model; two steps a stage."""
    study = Study.prepared("embedded", folder, endpoint)
    run = KilledRun(study, random.Random("kills/embedded"))
    for number in range(OF_EMBEDDED):
        yield Trial(f"{number} embedded", run.kill, str(folder))
    yield Trial("the end of embedded", run.end, str(folder))
