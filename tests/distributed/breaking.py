"""A stage that breaks in one of the processes that run it together.

    torchrun --nproc-per-node 2 -m tests.distributed.breaking FOLDER MANNER RANK

It prints how the run ended.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from layersig.distributed.launch import Launch
from layersig.distributed.start import driving, follow
from layersig.distributed.world import world
from layersig.engine.execute import Ended, Executor
from layersig.engine.runner import AcrossProcesses
from layersig.errors import LayersigError
from layersig.pipeline import Graph, Stage
from layersig.records import Cell
from layersig.stages.job import Job, Silent
from layersig.stages.spec import ModelSpec
from layersig.store.cache import Cache


class Break(ModelSpec):
    """Does `manner` in process `rank` between two exchanges."""

    kind, version, body = "break", 1, "tests.distributed.breaking:work"
    shared = "items"
    manner = frozenset({"how", "rank"})

    how: str
    rank: int


def work(job: Job[Break]) -> None:
    """Write something, break, and meet the others."""
    several = world()
    (job.out / "half").write_text("written")
    several.gather(None)
    if several.rank == job.spec.rank:
        if job.spec.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if job.spec.how == "raise":
            raise ValueError("no such thing")
    job.write("ranks.json", several.gather(several.rank))


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Ends:
    """Prints how the stage ended."""

    def started(self, stage: Stage, fingerprint: str) -> None:
        pass

    def ended(self, stage: Stage, how: Ended) -> None:
        files = [] if how.entry is None else sorted(path.name for path in how.entry.out.iterdir())
        tell(f"ENDED {how.status} {how.error} {files}")


def main(folder: Path, how: str, rank: int) -> None:
    """Run the stage in all processes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
    launch = Launch.of(os.environ)
    assert launch is not None
    if launch.rank > 0:
        follow(launch)
        return
    spec = Break.of(how=how, rank=rank, dtype="float32", device="cpu", quantization="none", attention="sdpa")
    with driving(launch, sharded=False) as driver:
        assert driver is not None
        runner = AcrossProcesses(driver, ())
        executor = Executor(Cache(folder, print), dict, 0, [], lambda stage: Silent(), runner=runner)
        try:
            executor.run(Graph({}, (Stage("broken", Cell(), spec, {}),)), {}, Ends())
        except (LayersigError, KeyboardInterrupt) as error:
            tell(f"RAISED {type(error).__name__} {error}")


if __name__ == "__main__":
    from tests.distributed import breaking  # so that the others can unpickle the spec

    breaking.main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
