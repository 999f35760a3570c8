"""Where the body of a stage runs."""

from __future__ import annotations

from typing import Protocol

from layersig.stages.job import Job
from layersig.stages.spec import StageSpec


class Runner(Protocol):
    """Runs the body of one stage: in this process, in another one, or on another machine.

    Everything around it is the executor's: the order, the cache, locks, and what is published. A runner elsewhere needs
    the same folders, and gets the spec there from its JSON: `SPECS[spec.kind].of(**spec.to_json())`.
    """

    def run(self, job: Job[StageSpec]) -> None:
        """Run `job.spec.body`, and return when `job.out`, `job.kept`, `job.cost` and `job.metrics` are filled.

        Raises:
            LayersigError: The body raised it; any other exception means that the stage failed.
        """


class InProcess:
    """The runner that calls the body here."""

    def run(self, job: Job[StageSpec]) -> None:
        """Run the body."""
        job.spec.run(job)


IN_PROCESS = InProcess()
